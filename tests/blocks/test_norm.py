import pytest
import torch

from ct_vae.blocks.norm import group_count, group_norm
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
