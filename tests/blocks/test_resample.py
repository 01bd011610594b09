import pytest
import torch

from ct_vae.blocks.resample import DownsampleND, UpsampleND
from tests._asserts import assert_close
from tests.blocks._correlate import correlated, noise

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])


@DIMS
def test_down_reads_three_voxels_from_every_even_one_on(dims):
    down = DownsampleND(dims, 2)
    x = noise(1, 2, *(6, 4, 8)[:dims])
    # Centred on the odd voxels, the kernel meets one zero, at the high end.
    odd = (..., *[slice(1, None, 2)] * dims)
    assert_close(down(x), correlated(down.conv, x)[odd], 1e-6)


@DIMS
def test_up_doubles_every_voxel_and_convolves(dims):
    up = UpsampleND(dims, 2)
    x = noise(1, 2, *(3, 2, 4)[:dims])
    doubled = x
    for axis in range(2, x.ndim):
        doubled = doubled.repeat_interleave(2, axis)
    assert_close(up(x), correlated(up.conv, doubled), 1e-6)


@DIMS
def test_up_undoes_the_sides_of_down(dims):
    x = torch.zeros(1, 2, *(6, 4, 8)[:dims])
    assert UpsampleND(dims, 2)(DownsampleND(dims, 2)(x)).shape == x.shape
