from dataclasses import astuple

import numpy as np
import pytest
import torch
from monai.metrics import SSIMMetric
from skimage.metrics import structural_similarity

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.metrics.similarity.ssim import axial_ssim, similarities
from ct_vae.evaluation.windows import WINDOWS
from ct_vae.masks import Mask, everything
from ct_vae.volume import Volume
from tests.evaluation._cases import noisy, random_volume, volume_of


def mask_of(volume, seed=0, share=0.3) -> Mask:
    return Mask("some", np.random.default_rng(seed).random(volume.grid.shape) < share)


def peer(reference, reconstruction, window, mask) -> float:
    """scikit-image, slice by slice over the last axis."""
    values = []
    for z in range(reference.grid.shape[2]):
        images = [
            v.voxels[..., z].astype(np.float64).clip(window.low, window.high) - window.low
            for v in (reference, reconstruction)
        ]
        _, ssim = structural_similarity(
            *images,
            data_range=window.width,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        values.append(ssim[mask.voxels[..., z]])
    return float(np.concatenate(values).mean())


@pytest.mark.parametrize("window", ["full", "soft_tissue", "lung"])
def test_it_is_what_scikit_image_gives(window):
    volume = random_volume(shape=(31, 26, 4))
    other, mask = noisy(volume, hu=400), mask_of(volume)
    expected = peer(volume, other, WINDOWS[window], mask)
    assert axial_ssim(volume, other, WINDOWS[window], mask) == pytest.approx(expected, rel=1e-9)


def test_a_small_mask_sees_what_lies_around_it():
    volume = random_volume(shape=(40, 36, 3))
    other, mask = noisy(volume, hu=400), mask_of(volume, share=0)
    mask.voxels[20:23, 17:19, 1] = True
    expected = peer(volume, other, WINDOWS["full"], mask)
    assert axial_ssim(volume, other, WINDOWS["full"], mask) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("axcodes", ["LPS", "SAR", "PIR"])
def test_slices_are_axial_whatever_the_order_of_indices(axcodes):
    volume = random_volume(shape=(24, 20, 15))
    other, mask = noisy(volume, hu=300), mask_of(volume)
    expected = axial_ssim(volume, other, WINDOWS["lung"], mask)

    def moved(v):
        grid = volume.grid
        return Volume(grid.reorient_array(v.voxels, axcodes), grid.reorient(axcodes))

    turned = Mask("some", volume.grid.reorient_array(mask.voxels, axcodes))
    result = axial_ssim(moved(volume), moved(other), WINDOWS["lung"], turned)
    assert result == pytest.approx(expected, rel=1e-9)


def test_equal_volumes_have_one_also_where_they_are_flat():
    volume = random_volume(shape=(20, 20, 2))
    everywhere = mask_of(volume, share=2)
    assert axial_ssim(volume, volume, WINDOWS["full"], everywhere) == pytest.approx(1, abs=1e-12)
    flat = volume_of(np.full((20, 20, 2), 2999, np.int16))
    assert axial_ssim(flat, flat, WINDOWS["full"], everywhere) == pytest.approx(1, abs=1e-12)


def test_errors_outside_the_window_do_not_count():
    bright = volume_of(np.full((12, 12, 2), 900, np.int16))
    brighter = volume_of(np.full((12, 12, 2), 1500, np.int16))
    mask = mask_of(bright)
    assert axial_ssim(bright, brighter, WINDOWS["soft_tissue"], mask) == pytest.approx(1)
    assert axial_ssim(bright, brighter, WINDOWS["full"], mask) < 0.99


def test_an_empty_mask_has_none_and_a_strange_one_is_refused():
    volume = random_volume()
    assert axial_ssim(volume, volume, WINDOWS["full"], mask_of(volume, share=0)) is None
    with pytest.raises(InputError, match="mask"):
        axial_ssim(volume, volume, WINDOWS["full"], Mask("m", np.ones((2, 2, 2), bool)))
    with pytest.raises(InputError, match="voxels"):
        axial_ssim(volume, random_volume(shape=(3, 4, 5)), WINDOWS["full"], mask_of(volume))


def random_pair(shape=(24, 20, 18), seed=0, hu=300):
    volume = random_volume(seed, shape)
    return Pair(volume, noisy(volume, hu=hu))


@pytest.mark.parametrize("window", ["full", "soft_tissue", "bone"])
def test_the_volume_is_what_scikit_image_gives(window):
    pair, limits = random_pair(), WINDOWS[window]
    a, b = (
        v.voxels.astype(np.float64).clip(limits.low, limits.high) - limits.low
        for v in (pair.reference, pair.reconstruction)
    )
    mean, full = structural_similarity(
        a,
        b,
        data_range=limits.width,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    # Its own mean leaves the border out.
    inner = np.zeros(a.shape, bool)
    inner[5:-5, 5:-5, 5:-5] = True
    some = mask_of(pair.reference)
    masks = [everything(pair.reference), Mask("inner", inner), some]
    found = [s.volume for s in similarities(pair, limits, masks)]
    assert found == pytest.approx([full.mean(), mean, full[some.voxels].mean()], rel=1e-9)


def test_the_volume_is_what_monai_gives_inside():
    pair, window = random_pair(), WINDOWS["full"]
    tensors = [
        torch.from_numpy(v.voxels.astype(np.float32).clip(window.low, window.high) - window.low)
        for v in (pair.reconstruction, pair.reference)
    ]
    theirs = SSIMMetric(spatial_dims=3, data_range=window.width)(*[t[None, None] for t in tensors])
    inner = np.zeros(pair.reference.grid.shape, bool)
    inner[5:-5, 5:-5, 5:-5] = True
    (found,) = similarities(pair, window, [Mask("inner", inner)])
    assert found.volume == pytest.approx(theirs.item(), rel=1e-4)


@pytest.mark.parametrize("slab_voxels", [1, 3 * 24 * 20, 7 * 24 * 20])
def test_slab_size_changes_nothing(slab_voxels):
    pair = random_pair()
    masks = [mask_of(pair.reference), everything(pair.reference)]
    for one, other in zip(
        similarities(pair, WINDOWS["lung"], masks),
        similarities(pair, WINDOWS["lung"], masks, slab_voxels=slab_voxels),
        strict=True,
    ):
        assert astuple(one) == pytest.approx(astuple(other), rel=1e-9)


def test_only_a_small_box_around_a_mask_changes_nothing():
    pair = random_pair((40, 36, 30))
    mask = mask_of(pair.reference, share=0)
    mask.voxels[20:23, 17:19, 12:15] = True
    everywhere = Mask("all but one", mask.voxels.copy())
    everywhere.voxels[0, 0, 0] = everywhere.voxels[-1, -1, -1] = True
    (small,) = similarities(pair, WINDOWS["full"], [mask])
    together = similarities(pair, WINDOWS["full"], [mask, everywhere])
    assert astuple(together[0]) == pytest.approx(astuple(small), rel=1e-9)
    assert astuple(together[1]) != pytest.approx(astuple(small), rel=1e-9)


def test_what_was_not_asked_for_is_none():
    pair = random_pair()
    masks = [mask_of(pair.reference)]
    assert similarities(pair, WINDOWS["full"], masks, volume=False)[0].volume is None
    assert similarities(pair, WINDOWS["full"], masks, axial=False)[0].axial is None
