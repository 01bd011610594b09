import numpy as np
import pytest

from ct_vae.evaluation.measure import _TEXTURE, COMPARED_WINDOWS, METRICS, Plan, measure_pair
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.metrics.tissue_bands import TISSUE_BANDS
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.masks import Mask, body_mask, everything, field_of_view
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume, volume_of

ALL = Plan(metrics=METRICS)


@pytest.fixture(scope="module")
def thorax():
    return make_phantom("thorax", 3, 6.0)


def plain(row):
    return [np.nan if value is None else value for value in row.numbers().values()]


def measured(pair, plan, masks):
    rows = measure_pair(pair, plan, masks, ("a", "result"))
    return {(row.window, row.mask): row for row in rows}


def test_an_offset_shows_unclipped_where_the_original_lies_in_the_window(thorax):
    shifted = Volume(thorax.voxels + np.int16(10), thorax.grid)
    body = body_mask(thorax)
    rows = measured(Pair(thorax, shifted), ALL, [body])
    for window in COMPARED_WINDOWS:
        row = rows[window.name, "in_window"]
        inside = (thorax.voxels >= window.low) & (thorax.voxels <= window.high) & body.voxels
        assert row.n == inside.sum()
        assert row.bias == pytest.approx(10, abs=0.1)
    # Clipping hides a part of it.
    assert rows["soft_tissue", "body"].bias < 9
    full = rows["full", "body"].more
    assert (full["slope"], full["intercept"]) == pytest.approx((1, 10), abs=1e-6)
    assert (full["regions_bias"], full["gradient_ratio"]) == pytest.approx((10, 1), abs=1e-3)
    assert full["regions_low"] == pytest.approx(full["regions_high"], abs=1e-6)


def test_a_lost_lesion_shows_in_the_window(thorax):
    body = body_mask(thorax)
    with_lesion = thorax.voxels.copy()
    fat = np.argwhere(body.voxels & (np.abs(thorax.voxels - 40) < 60))
    x, y, z = fat[len(fat) // 2]
    with_lesion[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = 110
    original = Volume(with_lesion, thorax.grid)
    rows = measured(Pair(original, thorax), Plan(), [body])
    kept = measured(Pair(original, original), Plan(), [body])
    lost = rows["soft_tissue", "in_window"]
    assert lost.rmse > 0.5
    assert lost.bias < 0
    assert kept["soft_tissue", "in_window"].rmse == 0
    # The full range flatters by 20 dB.
    assert lost.psnr < rows["full", "body"].psnr - 15


def test_tissues_have_their_own_bias():
    voxels = np.random.default_rng(0).integers(-1024, 3001, (16, 16, 16)).astype(np.int16)
    original = volume_of(voxels)
    worse = voxels.copy()
    band = next(b for b in TISSUE_BANDS if b.name == "band_fat")
    fat = (voxels >= -200) & (voxels <= -31)
    assert (band.low, band.high) == (-200, -31)
    worse[fat] += 25
    rows = measured(Pair(original, volume_of(worse)), ALL, [everything(original)])
    for each in TISSUE_BANDS:
        assert rows[each.name, "in_window"].bias == (25 if each is band else 0)


def test_bands_hold_whole_hu_once():
    values = np.arange(-1024, 3001)
    counts = sum(((values >= b.low) & (values <= b.high)).astype(int) for b in TISSUE_BANDS)
    assert counts.max() == 1
    assert (values[counts == 0] < -200).all()
    assert (values[counts == 0] > -501).all()


def test_only_what_was_asked_for_is_measured():
    pair = Pair(random_volume(), noisy(random_volume()))
    masks = [field_of_view(pair.reference)]
    plain = measured(pair, Plan(metrics=("errors",), unclipped=False), masks)
    assert {mask for _, mask in plain} == {"field_of_view"}
    assert all(not row.more for row in plain.values())
    default = measured(pair, Plan(), masks)
    assert {w for (w, m), row in default.items() if "ssim" in row.more} == {"full", "soft_tissue"}
    assert set(default["full", "field_of_view"].more) == {
        "ssim",
        "ssim_axial",
        *_TEXTURE,
    }


@pytest.mark.parametrize("slab_voxels", [1, 2000])
def test_slab_size_changes_nothing(slab_voxels):
    original = random_volume(1, (24, 23, 26))
    pair = Pair(original, noisy(original))
    masks = [Mask("some", np.random.default_rng(2).random((24, 23, 26)) < 0.7)]
    plan = Plan((WINDOWS["full"], WINDOWS["lung"]), (WINDOWS["full"],), METRICS)
    for one, other in zip(
        measure_pair(pair, plan, masks, ("a", "b")),
        measure_pair(pair, plan, masks, ("a", "b"), slab_voxels=slab_voxels),
        strict=True,
    ):
        assert one.numbers().keys() == other.numbers().keys()
        assert plain(one) == pytest.approx(plain(other), rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("axcodes", ["LPS", "SAR", "PIR"])
def test_order_of_indices_changes_nothing(axcodes):
    original = random_volume(3, (24, 22, 26))
    result = noisy(original)

    def moved(v):
        return Volume(
            np.ascontiguousarray(original.grid.reorient_array(v.voxels, axcodes)),
            original.grid.reorient(axcodes),
        )

    mask = Mask("some", np.random.default_rng(2).random((24, 22, 26)) < 0.7)
    turned = Mask("some", original.grid.reorient_array(mask.voxels, axcodes))
    plan = Plan(metrics=("errors", "ssim", "ssim_axial", "gradient", "ms_ssim"))
    for one, other in zip(
        measure_pair(Pair(original, result), plan, [mask], ("a", "b")),
        measure_pair(Pair(moved(original), moved(result)), plan, [turned], ("a", "b")),
        strict=True,
    ):
        numbers, others = one.numbers(), other.numbers()
        assert list(numbers.values()) == pytest.approx(list(others.values()), rel=1e-9)
