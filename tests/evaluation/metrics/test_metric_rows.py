import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import PSNRMetric
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.metric_rows import evaluate_pair
from ct_vae.evaluation.windows import WINDOWS, Window, parse_window
from ct_vae.grid import Grid
from ct_vae.masks import Mask, field_of_view
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume, volume_of

ALL = tuple(WINDOWS.values())


def banal(reference, result, window, mask):
    """One voxel at a time, in Python's own arithmetic."""
    errors = [
        min(max(float(b), window.low), window.high) - min(max(float(a), window.low), window.high)
        for a, b, m in zip(reference.flat, result.flat, mask.flat, strict=True)
        if m
    ]
    n = len(errors)
    rmse = math.sqrt(math.fsum(e * e for e in errors) / n)
    mae, bias = math.fsum(map(abs, errors)) / n, math.fsum(errors) / n
    return n, mae, rmse, bias, 20 * math.log10(window.width / rmse) if rmse else None


@settings(max_examples=15)
@given(st.integers(0, 50), st.integers(1, 800))
def test_masked_numbers_are_those_of_the_banal_reference(seed, hu):
    reference = random_volume(seed)
    result = noisy(reference, seed + 1, hu)
    mask = Mask("some", np.random.default_rng(seed).random(reference.voxels.shape) < 0.4)
    for window, row in zip(
        ALL, evaluate_pair(reference, result, ALL, case="a", masks=[mask]), strict=True
    ):
        *errors, psnr = banal(reference.voxels, result.voxels, window, mask.voxels)
        assert (row.n, row.mae, row.rmse, row.bias) == pytest.approx(errors, rel=1e-12)
        assert row.psnr == (None if psnr is None else pytest.approx(psnr, rel=1e-12))
        assert (row.case, row.what, row.window, row.mask) == (
            "a",
            "reconstruction",
            window.name,
            "some",
        )


@pytest.mark.parametrize("window", ALL, ids=lambda w: w.name)
def test_unmasked_numbers_agree_with_scikit_image(window):
    reference = random_volume(3, (20, 21, 22))
    result = noisy(reference)
    a, b = (
        v.voxels.astype(np.float64).clip(window.low, window.high) - window.low
        for v in (reference, result)
    )
    (row,) = evaluate_pair(reference, result, [window], case="a", masks=[field_of_view(reference)])
    assert row.data_range == window.width
    assert row.rmse**2 == pytest.approx(mean_squared_error(a, b), rel=1e-6)
    assert row.psnr == pytest.approx(
        peak_signal_noise_ratio(a, b, data_range=window.width), rel=1e-6
    )


def test_psnr_agrees_with_monai():
    reference = random_volume(4, (16, 16, 16))
    result = noisy(reference)
    window = WINDOWS["full"]
    a, b = (
        torch.from_numpy(v.voxels.astype(np.float64).clip(window.low, window.high))[None, None]
        for v in (result, reference)
    )
    expected = PSNRMetric(max_val=window.width)(a.float(), b.float()).item()
    (row,) = evaluate_pair(reference, result, [window], case="a", masks=[field_of_view(reference)])
    assert row.psnr == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("slab_voxels", [1, 100, 10**9])
def test_slab_size_changes_nothing(slab_voxels):
    reference = random_volume(5)
    result = noisy(reference)
    for one, other in zip(
        evaluate_pair(reference, result, ALL, case="a"),
        evaluate_pair(reference, result, ALL, case="a", slab_voxels=slab_voxels),
        strict=True,
    ):
        assert (one.mae, one.rmse, one.bias, one.psnr) == pytest.approx(
            (other.mae, other.rmse, other.bias, other.psnr), rel=1e-9
        )


def test_an_offset_shows_as_bias():
    reference = volume_of(np.random.default_rng(0).integers(-100, 200, (8, 9, 10)).astype(np.int16))
    result = Volume(reference.voxels + np.int16(10), reference.grid)
    for row in evaluate_pair(reference, result, case="a"):
        assert (row.bias, row.mae, row.rmse) == pytest.approx((10, 10, 10))
        assert row.psnr == pytest.approx(20 * math.log10(row.data_range / 10))


def test_errors_outside_the_window_do_not_count():
    reference = volume_of(np.full((4, 4, 4), 1000, np.int16))
    result = volume_of(np.full((4, 4, 4), 2000, np.int16))
    full, soft = evaluate_pair(reference, result, case="a", masks=[field_of_view(reference)])
    assert (full.bias, soft.bias, soft.psnr) == (1000, 0, None)


def test_identity_has_no_error_and_no_infinity():
    volume = random_volume()
    for row in evaluate_pair(volume, volume, ALL, case="a"):
        assert (row.mae, row.rmse, row.bias, row.psnr) == (0, 0, 0, None)


def test_default_rows_are_body_and_field_of_view_in_full_range_and_soft_tissue():
    volume = random_volume()
    rows = evaluate_pair(volume, volume, case="a")
    assert [(r.window, r.mask) for r in rows] == [
        ("full", "body"),
        ("full", "field_of_view"),
        ("soft_tissue", "body"),
        ("soft_tissue", "field_of_view"),
    ]


def test_an_empty_mask_gives_no_numbers():
    volume = random_volume()
    nothing = Mask("nothing", np.zeros(volume.voxels.shape, bool))
    (row, _) = evaluate_pair(volume, noisy(volume), case="a", masks=[nothing])
    assert (row.n, row.mae, row.rmse, row.bias, row.psnr) == (0, None, None, None, None)


def test_notes_of_masks_reach_the_rows():
    air = volume_of(np.full((6, 6, 3), -1000, np.int16))
    rows = evaluate_pair(air, air, case="a")
    assert all(("field of view" in row.note) == (row.mask == "body") for row in rows)


def test_other_shapes_and_places_are_refused_with_the_difference():
    a = random_volume()
    with pytest.raises(InputError, match=r"\(9, 12, 7\).*\(9, 12, 8\)"):
        evaluate_pair(a, random_volume(shape=(9, 12, 8)), case="a")
    affine = a.grid.affine.copy()
    affine[0, 3] += 3.5
    with pytest.raises(InputError, match=r"3\.5 mm apart"):
        evaluate_pair(a, Volume(a.voxels, Grid(a.grid.shape, affine)), case="a")
    affine[0, 3] -= 3.4999
    assert evaluate_pair(a, Volume(a.voxels, Grid(a.grid.shape, affine)), case="a")


def test_masks_of_another_shape_and_values_that_are_not_finite_are_refused():
    a = random_volume()
    with pytest.raises(InputError, match="some"):
        evaluate_pair(a, a, case="a", masks=[Mask("some", np.ones((2, 2, 2), bool))])
    broken = a.voxels.astype(np.float32)
    broken[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        evaluate_pair(a, Volume(broken, a.grid), case="a", masks=[field_of_view(a)])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("window", ["full", "soft_tissue", "odd:75.5/40.25", "half:75/40"])
def test_percentiles_are_those_of_all_errors(dtype, window):
    reference = random_volume(6, (12, 13, 14))
    other = noisy(reference, hu=300)
    result = Volume(other.voxels.astype(dtype), other.grid)
    limits = parse_window(window)
    mask = Mask("some", np.random.default_rng(1).random((12, 13, 14)) < 0.5)
    (row,) = evaluate_pair(reference, result, [limits], case="a", masks=[mask])
    a, b = (v.voxels.astype(float).clip(limits.low, limits.high) for v in (reference, result))
    errors = np.abs(b - a)[mask.voxels]
    whole = dtype == np.int16 and window != "odd:75.5/40.25"
    near = {"rel": 1e-12} if whole else {"abs": 1 / 64 + 1e-9}
    assert (row.p95, row.p999) == pytest.approx(np.percentile(errors, [95, 99.9]), **near)
    assert (row.mae, row.rmse) == pytest.approx(
        (errors.mean(), np.sqrt((errors**2).mean())), rel=1e-12
    )


def test_the_largest_errors_of_int16_are_counted():
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    a = volume_of(np.full((3, 3, 3), low, np.int16))
    b = volume_of(np.full((3, 3, 3), high, np.int16))
    for one, other, bias in ((a, b, 65535), (b, a, -65535)):
        (row,) = evaluate_pair(
            one, other, [Window("wide", 1e6, 0)], case="a", masks=[field_of_view(a)]
        )
        assert (row.bias, row.mae, row.p95) == (bias, 65535, 65535)
