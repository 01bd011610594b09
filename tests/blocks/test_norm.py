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


HALF = [torch.bfloat16, torch.float16]
OF_ALL_KINDS = pytest.mark.parametrize(
    "norm", [RMSNormND(6), LayerNormND(6), group_norm(3, 6, 2)], ids=["rms", "layer", "group"]
)


@OF_ALL_KINDS
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("trains", [False, True])
def test_half_precision_is_normalized_in_float32_and_stays_half(norm, dtype, trains):
    drawn(norm)
    x = (100 * noise(1, 6, 4, 4, 4)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(trains):
        result = norm(x)
    # Each value is the nearest to the one in float32, with the same statistics.
    assert result.dtype == dtype
    assert torch.equal(result, norm(x.float()).to(dtype))


@OF_ALL_KINDS
def test_gradients_in_half_precision_are_those_of_float32_rounded(norm):
    drawn(norm)
    x = (3 + noise(2, 6, 4, 3, 5)).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()
    above = noise(*x.shape, seed=3).bfloat16()
    found = torch.autograd.grad(norm(x), [x, *norm.parameters()], above)
    expected = torch.autograd.grad(norm(wide), [wide, *norm.parameters()], above.float())
    assert found[0].dtype == torch.bfloat16
    assert torch.equal(found[0], expected[0].bfloat16())
    for a, b in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@OF_ALL_KINDS
def test_only_the_map_is_kept_for_the_backward_pass_in_half_precision(norm):
    kept = []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    x = noise(1, 6, 4, 4, 4).bfloat16().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        norm(x)
    maps = [each for each in kept if each.numel() >= x.numel()]
    assert [each.data_ptr() for each in maps] == [x.data_ptr()]


@OF_ALL_KINDS
def test_second_derivatives_in_half_precision_are_close_to_those_of_float32(norm):
    x = noise(1, 6, 4, 4, 4).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()
    seconds = []
    for each in (x, wide):
        loss = norm(each).float().square().mul(noise(*x.shape, seed=2)).sum()
        (first,) = torch.autograd.grad(loss, each, create_graph=True)
        seconds.append(torch.autograd.grad(first.float().square().sum(), each)[0].float())
    assert_close(*seconds, 0.03)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@OF_ALL_KINDS
def test_in_half_precision_a_compiled_norm_is_one_graph_with_the_same_gradients(norm):
    drawn(norm)
    compiled = torch.compile(norm, backend="aot_eager", fullgraph=True, dynamic=False)
    found = []
    for each in (norm, compiled):
        x = noise(2, 6, 4, 3, 3).bfloat16().requires_grad_()
        result = each(x)
        assert result.dtype == torch.bfloat16
        weighted = result.float().mul(noise(*x.shape, seed=2)).sum()
        found.append([result, *torch.autograd.grad(weighted, [x, *norm.parameters()])])
    for a, b in zip(*found, strict=True):
        # One step of bfloat16, as a compiler may sum in another order.
        torch.testing.assert_close(b, a, rtol=2**-7, atol=1e-5)


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
