import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool1d, avg_pool2d, avg_pool3d

from ct_vae.training.latent_changes import LatentChanges, transform_pair
from ct_vae.training.seeding import posterior_noise

SIDES = st.lists(st.integers(2, 5), min_size=1, max_size=3)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 5),
    noise=st.sampled_from([0.0, 0.5]),
    kind=st.sampled_from(["uniform", "gaussian", "posterior"]),
    nested=st.sampled_from([(), (1, 2, 4)]),
    split=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_changes_do_not_depend_on_the_split_of_a_batch(count, noise, kind, nested, split, seed):
    changes = LatentChanges(noise, kind, nested)
    latent = random(count, 4, 3, 2, seed=seed)
    std = random(count, 4, 3, 2, seed=seed + 1).exp()
    whole = changes(latent, seed, 7, std)
    parts, start = [], 7
    for part, width in zip(torch.split(latent, split), torch.split(std, split), strict=True):
        parts.append(changes(part, seed, start, width))
        start += len(part)
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole, latent) == (noise == 0 and not nested)


def test_noise_has_the_stated_width_and_is_apart_from_that_of_the_posterior():
    latent = torch.zeros(2, 4, 20, 20, 20)
    uniform = LatentChanges(0.5)(latent, 0, 0)
    assert uniform.abs().max() <= 0.25
    # The variance of quantization with step 0.5.
    assert uniform.var() == pytest.approx(0.5**2 / 12, rel=0.02)
    gaussian = LatentChanges(0.5, "gaussian")(latent, 0, 0)
    assert gaussian.std() == pytest.approx(0.5, rel=0.02)
    posterior = posterior_noise(latent, 0, 0)
    correlation = np.corrcoef(posterior.flatten(), gaussian.flatten())[0, 1]
    assert abs(correlation) < 0.02


def test_noise_that_follows_the_posterior_is_that_of_rounding_with_its_step():
    latent = torch.zeros(2, 3, 20, 20, 20)
    std = torch.tensor([0.01, 0.2, 3.0]).reshape(1, 3, 1, 1, 1) * torch.tensor([1.0, 2.0]).reshape(
        2, 1, 1, 1, 1
    )
    # Half of the voxels have no noise of their own, and a mean square is half as large.
    half = std.expand_as(latent).clone()
    half[..., ::2] = 0
    noise = LatentChanges(3.0, "posterior")(latent, 0, 0, half)
    expected = 3.0 * std.flatten(1) / 2**0.5
    torch.testing.assert_close(noise.flatten(2).std(2), expected, rtol=0.03, atol=0)
    ratio = noise.abs().flatten(2).amax(2) / (expected * 12**0.5 / 2)
    assert ((ratio > 0.99) & (ratio <= 1 + 1e-5)).all()


def test_nested_channels_keep_the_first_ones_of_each_sample():
    latent = torch.ones(300, 4, 2)
    changed = LatentChanges(nested_channels=(1, 2, 4))(latent, 3, 0)
    kept = changed[:, :, 0].sum(1)
    assert set(kept.tolist()) == {1, 2, 4}
    assert all((kept == n).sum() > 70 for n in (1, 2, 4))
    assert torch.equal(changed.cumprod(1), changed)


@settings(max_examples=40, deadline=None)
@given(sides=SIDES, factor=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_block_means_are_transformed_like_their_image(sides, factor, seed):
    image = random(2, 1, *(factor * n for n in sides), seed=seed)
    pool = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}[len(sides)]
    moved, target = transform_pair(pool(image, factor), image, seed, 5)
    assert list(moved.shape[2:]) == [n // 2 for n in sides]
    torch.testing.assert_close(pool(target, factor), moved)


def test_all_flips_and_rotations_are_drawn():
    latent = random(1, 1, 4, 4, 4)
    seen = {
        tuple(transform_pair(latent, latent, 0, index)[0].flatten().tolist())
        for index in range(200)
    }
    assert len(seen) == 16


def test_axes_of_different_sizes_are_not_rotated():
    latent = random(1, 1, 4, 8)
    assert all(transform_pair(latent, latent, 0, i)[0].shape == (1, 1, 2, 4) for i in range(20))


def test_transforms_do_not_depend_on_the_split_of_a_batch():
    latent, image = random(3, 2, 4, 4), random(3, 1, 8, 8)
    whole = transform_pair(latent, image, 1, 10)
    last = transform_pair(latent[2:], image[2:], 1, 12)
    assert torch.equal(whole[0][2:], last[0])
    assert torch.equal(whole[1][2:], last[1])
