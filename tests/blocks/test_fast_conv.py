"""Every way to convolve gives what PyTorch's own convolution gives."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.fast_conv import convolution
from tests._asserts import assert_close


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 5), (5, 1), (1, 1), (5, 4), (2, 3)])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, (0, 1, 1)),
        (3, 1, (1, 1, 1)),
        (3, 1, (0, 0, 0)),
        (3, 2, (0, 0, 0)),
        (3, (1, 2, 1), (0, 1, 1)),
        (1, 1, (0, 0, 0)),
    ],
)
def test_all_ways_agree_with_conv3d(dtype, bias, inputs, outputs, kernel, stride, padding):
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv3d(inputs, outputs, kernel, stride=stride, bias=bias).to(dtype)
    x = torch.randn(2, inputs, 5, 7, 6, generator=generator).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        result = convolution(conv, padding)(x)
        expected = functional.conv3d(x.double(), *_double(conv), conv.stride, padding)
    assert_close(result, expected, 1e-5 if dtype == torch.float32 else 1e-12)
    assert result.dtype == dtype


def test_what_is_given_is_not_changed():
    for inputs, outputs in ((1, 4), (4, 1), (4, 4)):
        conv = nn.Conv3d(inputs, outputs, 3)
        x = torch.randn(1, inputs, 4, 4, 4)
        before = x.clone()
        with torch.inference_mode():
            convolution(conv, (0, 1, 1))(x)
        assert torch.equal(x, before)


def _double(conv):
    return conv.weight.double(), None if conv.bias is None else conv.bias.double()
