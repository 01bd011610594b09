import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.evaluation.texture.find_flat_regions import SOFT_TISSUE_HU, detrended, find_flat_regions
from ct_vae.grid import Grid
from ct_vae.masks import Mask
from ct_vae.volume import Volume
from tests.evaluation._cases import volume_of


def block(seed=0, shape=(96, 80, 6), hu=40, sd=10, spacing=(1.0, 1.0, 3.0)):
    noise = np.random.default_rng(seed).normal(hu, sd, shape)
    return volume_of(np.rint(noise).astype(np.int16), spacing)


def everywhere(volume):
    return Mask("body", np.ones(volume.grid.shape, bool))


@given(st.tuples(*[st.floats(-5, 5)] * 6))
def test_second_order_trends_vanish(c):
    x, y = np.indices((9, 9))
    trend = c[0] + c[1] * x + c[2] * y + c[3] * x * x + c[4] * x * y + c[5] * y * y
    assert np.abs(detrended(trend[None])).max() < 1e-9


def test_regions_lie_apart_in_the_body_and_in_soft_tissue():
    volume = block()
    voxels = volume.voxels.copy()
    voxels[:40] = -100
    voxels[70:, 50:] = 900
    volume = volume_of(voxels, (1.0, 1.0, 3.0))
    inside = np.ones(voxels.shape, bool)
    inside[:, :10] = False
    regions = find_flat_regions(volume, Mask("body", inside))
    assert len(regions.places) >= 10
    assert regions.side == 15
    used = np.zeros(voxels.shape, int)
    for x, y, z in regions.places:
        box = np.s_[x : x + 15, y : y + 15, z]
        used[box] += 1
        assert inside[box].all()
        assert SOFT_TISSUE_HU[0] < voxels[box].mean() < SOFT_TISSUE_HU[1]
        assert voxels[box].min() > -30
        assert voxels[box].max() < 150
    assert used.max() == 1


def test_regions_with_structure_are_left_out():
    volume = block(shape=(120, 120, 4))
    voxels = volume.voxels.copy()
    voxels[30:34, 30:90] += 80
    regions = find_flat_regions(volume_of(voxels, (1.0, 1.0, 3.0)), everywhere(volume))
    for x, y, _ in regions.places:
        vessel = (x < 34) and (x + 15 > 30) and (y < 90) and (y + 15 > 30)
        overlap = (min(x + 15, 34) - max(x, 30)) * (min(y + 15, 90) - max(y, 30))
        assert not vessel or overlap <= 15
    assert len(regions.places) >= 40


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_squares_are_axial_in_any_orientation(axes):
    volume = block()
    affine = np.diag([1.0, 1.0, 3.0])[:, axes]
    whole = np.eye(4)
    whole[:3, :3] = affine
    voxels = np.ascontiguousarray(volume.voxels.transpose(axes))
    moved = Volume(voxels, Grid(voxels.shape, whole))
    expected = find_flat_regions(volume, everywhere(volume))
    found = find_flat_regions(moved, everywhere(moved))
    np.testing.assert_array_equal(found.places, expected.places)
    np.testing.assert_array_equal(found.cut(moved), expected.cut(volume))


@pytest.mark.parametrize(("spacing", "side"), [(0.3, 32), (0.75, 20), (3.0, 8)])
def test_side_is_about_15_mm_within_limits(spacing, side):
    volume = block(spacing=(spacing, spacing, 3.0))
    assert find_flat_regions(volume, everywhere(volume)).side == side


@pytest.mark.parametrize("hu", [-1000, 2000])
def test_no_soft_tissue_has_no_regions(hu):
    volume = block(hu=hu)
    regions = find_flat_regions(volume, everywhere(volume))
    assert regions.places.shape == (0, 3)
    assert regions.cut(volume).shape == (0, 15, 15)


def test_slices_are_thinned_evenly():
    volume = block(shape=(16, 16, 200))
    places = find_flat_regions(volume, everywhere(volume)).places
    assert places[:, 2].max() > 180
    assert len(np.unique(places[:, 2])) <= 64
