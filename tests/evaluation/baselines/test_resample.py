import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ct_vae.errors import ConfigError
from ct_vae.evaluation.baselines.resample import (
    coarse_sides,
    identity_baseline,
    mean_baseline,
    resample_baseline,
)
from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.volume import AIR_HU
from tests.evaluation._cases import random_volume, read_plainly, volume_of


def rmse(volume, baseline, where=...):
    error = baseline.volume.voxels.astype(float) - volume.voxels
    return float(np.sqrt((error[where] ** 2).mean()))


def cubic(volume, sides, sigma):
    """Gaussian anti-aliasing, then scipy's cubic zoom down and up."""
    shape = volume.voxels.shape
    zoom = [s / n for s, n in zip(sides, shape, strict=True)]
    smooth = ndimage.gaussian_filter(volume.voxels.astype(float), [sigma / z for z in zoom])
    small = ndimage.zoom(smooth, zoom, order=3, mode="reflect", grid_mode=True)
    back = [n / s for s, n in zip(small.shape, shape, strict=True)]
    return ndimage.zoom(small, back, order=3, mode="reflect", grid_mode=True)


@pytest.fixture(scope="module")
def thorax():
    return make_phantom("thorax", 9, 3.0, (110, 90, 40))


def test_mean_is_the_best_constant_in_the_body(thorax):
    body = body_mask(thorax)
    baseline = mean_baseline(thorax, body)
    assert baseline.values == 1
    assert len(np.unique(baseline.volume.voxels)) == 1
    assert rmse(thorax, baseline, body.voxels) == pytest.approx(
        thorax.voxels[body.voxels].std(dtype=float), rel=1e-4
    )
    assert mean_baseline(thorax).volume.voxels[0, 0, 0] == baseline.volume.voxels[0, 0, 0]


@given(st.tuples(*[st.integers(1, 200)] * 3), st.integers(1, 10**6))
def test_sides_stay_inside_the_budget_and_the_volume(shape, values):
    sides = coarse_sides(shape, values)
    assert all(1 <= s <= n for s, n in zip(sides, shape, strict=True))
    assert math.prod(sides) <= values
    if values >= math.prod(shape):
        assert sides == shape


@given(st.tuples(*[st.integers(24, 300)] * 3), st.sampled_from([4, 8, 16, 32, 64, 128]))
def test_sides_use_the_budget(shape, ratio):
    values = math.prod(shape) // ratio
    assert math.prod(coarse_sides(shape, values)) > 0.9 * values


@pytest.mark.parametrize("ratio", [8, 16, 32, 128])
def test_sides_are_near_the_budget_and_even(ratio):
    shape = (180, 140, 150)
    sides = coarse_sides(shape, math.prod(shape) // ratio)
    assert math.prod(sides) > 0.97 * math.prod(shape) / ratio
    assert np.divide(shape, sides) == pytest.approx(ratio ** (1 / 3), rel=0.06)


@pytest.mark.parametrize("ratio", [8, 16])
def test_resampling_beats_zooming_with_any_gaussian(thorax, ratio):
    values = thorax.voxels.size // ratio
    baseline = resample_baseline(thorax, values)
    assert baseline.values <= values
    sides = coarse_sides(thorax.grid.shape, values)
    rivals = [
        np.sqrt(((cubic(thorax, sides, sigma) - thorax.voxels) ** 2).mean())
        for sigma in (0, 0.15, 0.25, 0.35, 0.5)
    ]
    assert rmse(thorax, baseline) < min(rivals)


def test_resampling_beats_zooming_on_a_real_abdomen(real_data):
    volume = read_plainly(real_data / "nifti" / "abdomen_3mm.nii.gz")
    baseline = resample_baseline(volume, volume.voxels.size // 16)
    sides = coarse_sides(volume.grid.shape, volume.voxels.size // 16)
    rival = np.sqrt(((cubic(volume, sides, 0.25) - volume.voxels) ** 2).mean())
    assert rmse(volume, baseline) < rival


def test_smooth_volumes_come_back_in_place():
    x, y, z = np.indices((40, 36, 30))
    smooth = 300 * np.sin(x / 9) + 200 * np.cos(y / 8) + 4 * z
    volume = volume_of(smooth.astype(np.int16))
    baseline = resample_baseline(volume, volume.voxels.size // 16)
    # Half a voxel off would cost about 13 HU; the mirrored border bends the ramp.
    assert rmse(volume, baseline, np.s_[5:-5, 5:-5, 5:-5]) < 1.0


def test_as_many_values_as_voxels_change_nothing():
    volume = random_volume()
    for values in (volume.voxels.size, 10**9):
        baseline = resample_baseline(volume, values)
        np.testing.assert_array_equal(baseline.volume.voxels, volume.voxels)
        assert baseline.values == volume.voxels.size


def test_one_value_is_the_mean_of_all():
    volume = random_volume(2)
    baseline = resample_baseline(volume, 1)
    assert baseline.values == 1
    assert np.unique(baseline.volume.voxels) == pytest.approx(volume.voxels.mean(), abs=0.51)


def test_baselines_keep_grid_range_and_field_of_view():
    outside = np.zeros((9, 12, 7), bool)
    outside[:2] = True
    voxels = random_volume().voxels.copy()
    voxels[outside] = AIR_HU
    volume = volume_of(voxels, outside=outside)
    for baseline in (mean_baseline(volume), resample_baseline(volume, 50)):
        assert baseline.volume.grid == volume.grid
        assert (baseline.volume.voxels[outside] == AIR_HU).all()
        assert baseline.volume.voxels.max() <= voxels.max()


@pytest.mark.parametrize("values", [0, -3])
def test_no_values_are_refused(values):
    with pytest.raises(ConfigError, match=str(values)):
        resample_baseline(random_volume(), values)


def test_identity_is_the_volume_clipped_to_the_models_range():
    volume = random_volume(4)
    baseline = identity_baseline(volume, Preprocessor(window_hu=(-1000.0, 1000.0)), (4, 4, 4))
    np.testing.assert_array_equal(baseline.volume.voxels, volume.voxels.clip(-1000, 1000))
    assert baseline.volume.grid == volume.grid
    assert baseline.values == volume.voxels.size
