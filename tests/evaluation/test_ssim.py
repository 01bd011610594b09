import numpy as np
import pytest
from skimage.metrics import structural_similarity

from ct_vae.errors import InputError
from ct_vae.evaluation.masks import Mask
from ct_vae.evaluation.ssim import axial_ssim
from ct_vae.evaluation.windows import WINDOWS
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
