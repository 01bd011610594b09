import pytest
import torch
from torch import nn

from ct_vae.blocks.norm import AdaptiveNormND, LayerNormND, RMSNormND, group_count, group_norm
from ct_vae.errors import ConfigError
from tests._asserts import assert_close
from tests.blocks._correlate import noise


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (8, 8), (31, 31), (37, 1), (48, 24), (64, 32), (96, 32)]
)
def test_the_number_of_groups_is_the_largest_divisor_up_to_32(channels, groups):
    assert group_count(channels, None) == groups
    banal = max(n for n in range(1, 33) if channels % n == 0)
    assert group_count(channels, None) == banal


def test_a_given_number_of_groups_is_kept():
    assert group_count(64, 4) == 4


@pytest.mark.parametrize("groups", [0, -2, 3, 128])
def test_a_number_that_does_not_divide_is_refused(groups):
    with pytest.raises(ConfigError, match=f"norm_groups {groups} does not divide 64 channels"):
        group_count(64, groups)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_each_group_has_mean_zero_and_unit_variance_before_scale_and_shift(dims):
    norm = group_norm(dims, 6, norm_groups=2)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, 7))
        norm.bias.copy_(torch.arange(6.0))
    x = 3 + 5 * noise(2, 6, *[4] * dims)
    groups = x.double().reshape(2, 2, -1)
    scaled = (groups - groups.mean(-1, keepdim=True)) / (
        groups.var(-1, keepdim=True, correction=0) + 1e-6
    ).sqrt()
    per_channel = (1, 6) + (1,) * dims
    weight, bias = torch.arange(1.0, 7).view(per_channel), torch.arange(6.0).view(per_channel)
    assert_close(norm(x), scaled.reshape(x.shape) * weight + bias, 1e-6)


def test_eps_is_that_of_stable_diffusion():
    flat = torch.tensor([-1e-3, 1e-3]).view(1, 1, 2)
    result = group_norm(1, 1)(flat)
    torch.testing.assert_close(result, flat / (1e-6 + 1e-6) ** 0.5)


def drawn(norm: nn.Module) -> nn.Module:
    with torch.no_grad():
        for i, parameter in enumerate(norm.parameters()):
            parameter.copy_(1 + noise(*parameter.shape, seed=7 + i))
    return norm


def banal(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """One voxel at a time, in float64."""
    wide = x.double()
    center = wide.mean(1, keepdim=True) if isinstance(norm, LayerNormND) else 0
    scale = ((wide - center).square().mean(1, keepdim=True) + 1e-6).sqrt()
    per_channel = (1, -1) + (1,) * (x.ndim - 2)
    shift = norm.bias.double().view(per_channel) if isinstance(norm, LayerNormND) else 0
    return (wide - center) / scale * norm.weight.double().view(per_channel) + shift


PER_VOXEL = pytest.mark.parametrize("kind", [RMSNormND, LayerNormND])


@PER_VOXEL
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_each_voxel_is_normalized_over_its_channels(kind, dims):
    norm, x = drawn(kind(6)), 2 + 3 * noise(2, 6, *(4, 3, 5)[:dims])
    assert_close(norm(x), banal(norm, x), 1e-6)
    assert norm(x).shape == x.shape


@PER_VOXEL
def test_a_voxel_does_not_depend_on_its_neighbors(kind):
    norm, x = drawn(kind(6)), noise(1, 6, 4, 4, 4)
    assert torch.equal(norm(x)[..., :2], norm(x[..., :2].contiguous()))


@PER_VOXEL
def test_half_precision_is_normalized_in_float32(kind):
    norm, x = drawn(kind(6)), 100 * noise(1, 6, 4, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        result = norm(x.bfloat16())
    assert_close(result.float(), banal(norm, x.bfloat16()), 1e-6)


def test_a_modulation_acts_on_the_block_of_its_latent_voxel():
    norm = AdaptiveNormND(RMSNormND(4), nn.Conv2d(3, 8, 1))
    x, latent = noise(1, 4, 6, 4), noise(1, 3, 3, 2, seed=1)
    assert torch.equal(norm(x, latent), norm.norm(x))
    drawn(norm.modulation)
    scale, shift = norm.modulation(latent).chunk(2, 1)
    expected = torch.stack(
        [
            torch.stack(
                [
                    norm.norm(x)[0, :, i, j] * (1 + scale[0, :, i // 2, j // 2])
                    + shift[0, :, i // 2, j // 2]
                    for j in range(4)
                ],
                -1,
            )
            for i in range(6)
        ],
        1,
    )[None]
    torch.testing.assert_close(norm(x, latent), expected)


def test_sums_over_many_voxels_keep_their_digits_in_any_layout():
    """PyTorch's own are off by 1e-4 where channels lie together."""
    x = torch.rand(1, 4, 64, 64, 64) + 0.5
    norm = group_norm(3, 4, norm_groups=2)
    with torch.no_grad():
        expected = torch.nn.functional.group_norm(x.double(), 2, eps=1e-6)
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            result = norm(x.contiguous(memory_format=layout))
            assert (result - expected).norm() <= 1e-6 * expected.norm()
