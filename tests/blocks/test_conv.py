import pytest
import torch

from ct_vae.blocks.conv import ConvND
from tests._asserts import assert_close
from tests.blocks._correlate import correlated, noise

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])


@DIMS
@pytest.mark.parametrize("kernel", [1, 3])
def test_it_correlates_with_zeros_around(dims, kernel):
    conv = ConvND(dims, 2, 3, kernel=kernel)
    x = noise(2, 2, *(5, 4, 6)[:dims])
    assert_close(conv(x), correlated(conv, x), 1e-6)


@DIMS
def test_a_stride_leaves_padding_to_the_caller(dims):
    conv = ConvND(dims, 1, 1, stride=2)
    assert conv(torch.zeros(1, 1, *[7] * dims)).shape[2:] == (3,) * dims
