import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError
from ct_vae.evaluation.probe.drawing import Canvas, axes_mm, box_around

SIZE = (24.0, 20.0, 16.0)


@given(n=st.integers(1, 40), spacing=st.floats(0.3, 2))
def test_positions_are_symmetric_around_the_center(n, spacing):
    (axis,) = axes_mm((n,), spacing)
    np.testing.assert_allclose(axis, -axis[::-1], atol=1e-9)
    np.testing.assert_allclose(np.diff(axis), spacing)


@given(center=st.floats(-8, 8), reach=st.floats(0.1, 20))
def test_a_box_holds_the_voxels_within_reach(center, reach):
    shape, spacing = (20, 3, 3), 1.0
    box = box_around(shape, spacing, (center, 0.0, 0.0), (reach, 9.0, 9.0))
    axis = axes_mm(shape, spacing)[0]
    inside = np.flatnonzero((axis >= center - reach) & (axis < center + reach))
    assert list(range(*box[0].indices(20))) == inside.tolist()


@pytest.mark.parametrize("spacing", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (2.3, -1.1, 0.7)])
def test_a_sphere_has_its_volume_and_center(spacing, center):
    radius = 5.0
    canvas = Canvas(SIZE, spacing, 0.0)
    canvas.add(
        lambda x, y, z: x * x + y * y + z * z < radius**2,
        100.0,
        center,
        (radius,) * 3,
        flat=False,
    )
    share = canvas.voxels / 100
    assert 0 <= share.min() <= share.max() <= 1
    assert share.sum() * spacing**3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.005)
    for axis, (position, expected) in enumerate(
        zip(axes_mm(share.shape, spacing), center, strict=True)
    ):
        weights = share.sum(tuple(k for k in range(3) if k != axis))
        assert (weights * position).sum() / weights.sum() == pytest.approx(expected, abs=0.02)


def test_shapes_replace_what_is_below_them_by_covered_fraction():
    canvas = Canvas(SIZE, 1.0, -1000.0)
    # Voxel 12 reaches from 0 to 1 mm; the shape covers a quarter of it.
    canvas.add(lambda x, y, z: x < 0.25 + 0 * (y + z), 0.0, (0.0, 0.0, 0.0), (12.0, 10.0, 16.0))
    profile = canvas.volume().voxels[:, 10, 8]
    assert profile[11] == 0
    assert profile[12] == -750
    assert profile[13] == -1000


def test_flat_shapes_are_constant_along_z():
    canvas = Canvas(SIZE, 1.0, 0.0)
    canvas.add(lambda x, y, _: x * x + y * y < 9, 50.0, (0.0, 0.0, 0.0), (3.0, 3.0, 16.0))
    assert (canvas.voxels == canvas.voxels[:, :, :1]).all()


def test_the_volume_has_the_size_and_spacing_that_were_asked_for():
    volume = Canvas(SIZE, 2.0, -5.0).volume()
    assert volume.grid.shape == (12, 10, 8)
    assert volume.grid.spacing_mm == (2, 2, 2)
    assert (volume.voxels == -5).all()
    for spacing in (0.2, 2.1, float("nan")):
        with pytest.raises(ConfigError, match="spacing"):
            Canvas(SIZE, spacing, 0.0)
