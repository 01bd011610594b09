import pytest
import torch

from ct_vae.config.data import AugmentConfig
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.patches import PatchDataset
from ct_vae.training.data.loader import Batches
from ct_vae.training.device.augmented import DrawnPatches
from tests._small import ct_volume

STRONG = {
    "flip": (0.5, 0.5, 0.5),
    "rotate_degrees": 20.0,
    "zoom": 0.3,
    "zoom_axes": "apart",
    "resample_share": 0.7,
}


def patches(patch_size=(8, 6, 10), noise_hu=0.0, count=24):
    volumes = [StoredVolume.of(ct_volume((13, 10, 11), seed=seed)) for seed in range(2)]
    augment = AugmentConfig(**STRONG, noise_hu=noise_hu)
    return PatchDataset(volumes, patch_size, count, 5, 0.8, augment)


def batches(data, workers=0, start=0):
    return list(Batches(data, len(data), 4, 0, workers)(start))


@pytest.mark.parametrize("patch_size", [(8, 6, 10), (8, 6)])
@pytest.mark.parametrize("workers", [0, 2])
def test_without_noise_patches_are_those_of_the_data_set(patch_size, workers):
    data = patches(patch_size)
    found, expected = batches(DrawnPatches(data), workers), batches(data)
    assert found[0].shape == (4, 1, *patch_size)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b)


def test_noise_has_the_drawn_strength_and_belongs_to_the_sample():
    clean = patches(noise_hu=0.0, count=400)
    noisy = patches(noise_hu=30.0, count=400)
    drawn = DrawnPatches(noisy)
    together = drawn.images(drawn.together([drawn[i] for i in range(400)]))
    noise = torch.stack([together[i, 0] - clean.drawn(i).patch() for i in range(400)])
    sigmas = torch.tensor([noisy.drawn(i).sigma for i in range(400)])
    measured = noise.flatten(1).std(1)
    torch.testing.assert_close(measured, sigmas.float(), rtol=0.2, atol=0.01)
    assert 13 < measured.mean() < 17
    assert noise.flatten(1).div(sigmas[:, None]).mean().abs() < 0.02
    for i in (0, 17, 399):
        assert torch.equal(drawn.images(drawn.together([drawn[i]]))[0], together[i])


def test_a_run_that_goes_on_sees_what_is_left():
    data = DrawnPatches(patches(noise_hu=30.0))
    whole = batches(data)
    for a, b in zip(batches(data, start=8), whole[2:], strict=True):
        assert torch.equal(a, b)


def test_on_a_device_nothing_is_read_or_copied_after_the_batch():
    """PyTorch's device without data refuses both."""
    drawn = DrawnPatches(patches(noise_hu=30.0))
    batch = drawn.together([drawn[i] for i in range(4)])
    images = drawn.images(batch.to(torch.device("meta")))
    assert (images.shape, images.device.type) == ((4, 1, 8, 6, 10), "meta")


def test_boxes_travel_as_integers():
    drawn = DrawnPatches(patches())
    batch = drawn.together([drawn[i] for i in range(8)])
    assert batch.voxels.dtype == torch.int16
    assert 0 < sum(batch.resampled) < 8


@pytest.mark.parametrize(("augment", "expected"), [(STRONG, True), ({}, False)])
def test_only_patches_that_take_long_are_drawn(augment, expected):
    volume = StoredVolume.of(ct_volume())
    data = PatchDataset([volume], (4, 4, 4), 9, 2, 0.5, AugmentConfig(**augment))
    assert data.can_be_drawn is expected
    resized = PatchDataset([volume], (4, 4, 4), 9, 2, 0.5, AugmentConfig(**augment), (8, 8, 8))
    assert not resized.can_be_drawn
