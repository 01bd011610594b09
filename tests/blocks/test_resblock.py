import pytest
import torch
from torch import nn

from ct_vae.blocks.resblock import ResBlockND
from ct_vae.blocks.style import BlockStyle
from tests._asserts import assert_close
from tests.blocks._correlate import correlated, noise

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])


def silence(conv: nn.Module) -> None:
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()


@DIMS
def test_without_its_branch_it_is_the_identity(dims):
    block = ResBlockND(dims, 4, 4)
    silence(block.conv2)
    x = noise(1, 4, *[4] * dims)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


@DIMS
def test_a_change_of_width_is_carried_by_a_pointwise_convolution(dims):
    block = ResBlockND(dims, 4, 6)
    silence(block.conv2)
    x = noise(1, 4, *[4] * dims)
    assert block.nin_shortcut.weight.shape == (6, 4) + (1,) * dims
    assert_close(block(x), correlated(block.nin_shortcut, x), 1e-6)


@DIMS
def test_the_branch_is_twice_norm_activation_convolution(dims):
    block = ResBlockND(dims, 4, 4, BlockStyle(norm_groups=2))
    x = noise(2, 4, *[4] * dims)
    h = block.norm1(x)
    h = correlated(block.conv1, h * torch.sigmoid(h)).float()
    h = block.norm2(h)
    assert_close(block(x) - x, correlated(block.conv2, h * torch.sigmoid(h)), 1e-5)


def test_equal_widths_have_no_shortcut_weights():
    assert {name.split(".")[0] for name, _ in ResBlockND(3, 4, 4).named_parameters()} == {
        "norm1",
        "conv1",
        "norm2",
        "conv2",
    }


def test_dropout_acts_in_training_only():
    block = ResBlockND(1, 4, 4, BlockStyle(dropout=0.5))
    x = noise(1, 4, 64)
    assert not torch.equal(block(x), block(x))
    block.eval()
    torch.testing.assert_close(block(x), block(x), rtol=0, atol=0)


def test_what_is_dropped_is_missing_before_the_second_convolution():
    block = ResBlockND(1, 4, 4, BlockStyle(dropout=0.5))
    seen: list[torch.Tensor] = []
    block.conv2.register_forward_pre_hook(lambda _conv, given: seen.append(given[0]))
    block(noise(1, 4, 64))
    assert 0.3 < (seen[0] == 0).float().mean() < 0.7
