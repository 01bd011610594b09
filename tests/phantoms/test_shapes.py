import numpy as np
import pytest

from ct_vae.phantoms.scene import Layer as Painted
from ct_vae.phantoms.scene import Scene, render
from ct_vae.phantoms.shapes import Blob, Tubes, smooth_max, turn
from tests.phantoms._still import still


def test_smooth_max_is_a_maximum_away_from_edges():
    a, b = np.float32([0, 10, 5]), np.float32([10, 0, 5])
    np.testing.assert_allclose(smooth_max(a, b, mm=4.0), [10, 10, 6])


def painted(spacing, *shapes):
    sides = tuple(round(60 / s) for s in spacing)
    scene = Scene(still(), (60.0, 60.0, 60.0), tuple(Painted(s, 0.0) for s in shapes))
    return render(scene, sides, spacing) / 1000 + 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (1.0, 2.0, 4.0)])
def test_a_blob_covers_its_volume(spacing):
    covered = painted(spacing, Blob((1, 2, -3), (14, 11, 17), turn(20, 30, 40)))
    assert covered.sum() * np.prod(spacing) == pytest.approx(4 / 3 * np.pi * 14 * 11 * 17, rel=0.03)
    assert ((covered > 0.05) & (covered < 0.95)).any()


@pytest.mark.parametrize(("radius", "spacing"), [(5.0, 1.0), (2.0, 2.0), (0.5, 2.0)])
def test_a_tube_covers_its_volume_however_thin(radius, spacing):
    tube = Tubes.along([(-100, -70, 3), (100, 70, 5)], radius)
    covered = painted((spacing,) * 3, tube)
    length = 60 * np.linalg.norm([200, 140, 2]) / 200
    assert covered.sum() * spacing**3 == pytest.approx(np.pi * radius**2 * length, rel=0.1)
