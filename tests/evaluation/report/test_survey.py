import numpy as np
import pytest

from ct_vae.errors import InputError
from ct_vae.evaluation.report import survey as module
from ct_vae.evaluation.report.survey import HISTOGRAM_HU, survey


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("slab", [1, 100, 10**6])
def test_it_agrees_with_whole_arrays(monkeypatch, slab, dtype):
    monkeypatch.setattr(module, "_SLAB_VOXELS", slab)
    rng = np.random.default_rng(1)
    original = rng.integers(-3000, 5000, (6, 7, 8)).astype(dtype)
    result = original + rng.integers(-400, 400, original.shape).astype(dtype)
    mask = rng.random(original.shape) < 0.5
    mask[3] = False
    found = survey(original, result, mask)
    error = result.astype(np.float64) - original
    clipped = result.clip(-1024, 3000).astype(np.float64) - original.clip(-1024, 3000)
    assert found.rmse == pytest.approx(np.sqrt((clipped[mask] ** 2).mean()))
    hidden = np.where(mask, np.abs(error), -1)
    assert hidden[found.worst] == hidden.max()
    assert found.worst_hu == error[found.worst]
    for axis, got in enumerate(found.plane_rmse):
        for n, value in enumerate(got):
            inside = error.take(n, axis)[mask.take(n, axis)]
            assert value == pytest.approx(np.sqrt((inside**2).mean()) if inside.size else 0)
    assert found.histogram.sum() == mask.sum()
    assert found.histogram[HISTOGRAM_HU + 7] == (error[mask] == 7).sum()
    assert found.histogram[0] == (error[mask] <= -HISTOGRAM_HU).sum()


def test_an_empty_mask_means_everywhere():
    original = np.zeros((3, 4, 5), np.int16)
    result = original.copy()
    result[2, 3, 4] = 9
    found = survey(original, result, np.zeros(original.shape, np.bool_))
    assert (found.worst, found.worst_hu) == ((2, 3, 4), 9)
    assert found.histogram.sum() == 60


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("slab", [1, 10**6])
def test_the_largest_error_may_have_either_sign(monkeypatch, slab, sign):
    monkeypatch.setattr(module, "_SLAB_VOXELS", slab)
    original = np.zeros((3, 3, 3), np.int16)
    result = original.copy()
    result[1, 1, 1], result[0, 2, 1] = -300 * sign, 500 * sign
    found = survey(original, result, np.ones((3, 3, 3), np.bool_))
    assert (found.worst, found.worst_hu) == ((0, 2, 1), 500 * sign)
    assert found.rmse == pytest.approx(np.sqrt((300**2 + 500**2) / 27))


def test_errors_beyond_int16_are_seen():
    original = np.full((2, 2, 2), -30000, np.int16)
    result = np.full((2, 2, 2), 30000, np.int16)
    assert survey(original, result, np.ones((2, 2, 2), np.bool_)).worst_hu == 60000


def test_values_that_are_not_finite_are_refused():
    original = np.zeros((2, 2, 2), np.float32)
    result = original.copy()
    result[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        survey(original, result, np.ones((2, 2, 2), np.bool_))
