import numpy as np
import pytest

from ct_vae.phantoms.shapes import Blob, Tubes
from ct_vae.phantoms.skeleton import Bone, rib, spine
from tests.phantoms._still import at, drawn

BONE = Bone(1000.0, 250.0, 6.0)


@pytest.mark.parametrize(
    "layers",
    [
        BONE.solid(Blob((0, 0, 0), (30, 30, 30))),
        BONE.tubes(Tubes.along([(-90, 0, 0), (90, 0, 0)], 30)),
    ],
)
def test_marrow_is_inside_a_cortical_shell(layers):
    picture = drawn(layers)
    assert at(picture, (0, 0, 0)) == pytest.approx(250)
    assert at(picture, (0, 27, 0)) > 800
    assert at(picture, (0, 36, 0)) == -1000


def test_a_spine_is_symmetric_with_cord_in_a_canal_behind_the_bodies():
    layers = spine(BONE, (-60.0, -30.0, 0.0, 30.0, 60.0), 30.0, 20.0, lambda _: 10.0)
    picture = drawn(layers, 150.0, 1.5)
    np.testing.assert_allclose(picture, picture[::-1], atol=1)
    for z in (-30, 0, 30):
        assert at(picture, (0, 10, z), 150.0) == pytest.approx(250)
        assert at(picture, (0, 10 - 0.76 * 20 - 8, z), 150.0) == pytest.approx(42)
    assert at(picture, (0, 10, 15), 150.0) == pytest.approx(85)


@pytest.mark.parametrize("drop", [0.0, 40.0])
def test_ribs_follow_the_wall_and_mirror_each_other(drop):
    wall = Blob((0, 0, 0), (130, 90, 400), None, 2.4, 4)
    head = (25.0, -70.0, 30.0)
    right, left = (rib(wall, head, side, drop, 0.8) for side in (1, -1))
    np.testing.assert_allclose(right * (-1, 1, 1), left)
    np.testing.assert_allclose(right[0], head)
    on_wall = wall.level(np.float32(right[2:].T))
    np.testing.assert_allclose(on_wall, 0, atol=0.1)
    assert (np.diff(right[2:, 2]) <= 0).all()
    assert right[-1, 2] == pytest.approx(30 - drop * 0.8**1.4)
