import itertools

import pytest
import torch

from ct_vae.blocks.conv import ConvND, PaddedConv, pad, per_axis
from ct_vae.errors import ConfigError
from tests._asserts import assert_close
from tests.blocks._correlate import NUMPY_MODES, SCIPY_MODES, correlated, noise

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])
MODES = pytest.mark.parametrize("mode", sorted(SCIPY_MODES))
CAUSAL = [(dims, axis) for dims in (1, 2, 3) for axis in range(dims)]


@DIMS
@MODES
@pytest.mark.parametrize("kernel", [1, 3])
def test_it_correlates_with_what_is_beyond_the_border(dims, mode, kernel):
    conv = ConvND(dims, 2, 3, kernel=kernel, padding_mode=mode)
    x = noise(2, 2, *(5, 4, 6)[:dims])
    assert_close(conv(x), correlated(conv, x, mode), 1e-6)


@pytest.mark.parametrize(("dims", "axis"), CAUSAL)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_a_causal_axis_has_all_its_padding_before_the_first_voxel(dims, axis, mode):
    conv = ConvND(dims, 2, 3, padding_mode=mode, causal_axis=axis)
    x = noise(2, 2, *(5, 4, 6)[:dims])
    assert_close(conv(x), correlated(conv.conv, x, mode, axis), 1e-6)


@pytest.mark.parametrize(("dims", "axis"), CAUSAL)
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_later_voxels_never_change_earlier_outputs_of_a_causal_axis(dims, axis, mode):
    conv = ConvND(dims, 1, 2, padding_mode=mode, causal_axis=axis)
    x, other = noise(1, 1, *[5] * dims), noise(1, 1, *[5] * dims, seed=1)
    for now in range(1, 6):
        changed = x.clone()
        changed.narrow(2 + axis, now, 5 - now).copy_(other.narrow(2 + axis, now, 5 - now))
        before = conv(x).narrow(2 + axis, 0, now), conv(changed).narrow(2 + axis, 0, now)
        torch.testing.assert_close(*before, rtol=0, atol=0)


def test_a_pointwise_convolution_is_causal_as_it_is():
    assert not isinstance(ConvND(3, 1, 1, kernel=1, causal_axis=0), PaddedConv)


@DIMS
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_sides_of_one_are_kept(dims, mode):
    assert ConvND(dims, 2, 3, padding_mode=mode)(noise(1, 2, *[1] * dims)).shape[1:] == (
        3,
        *[1] * dims,
    )


def test_offsets_can_be_left_out():
    assert ConvND(3, 2, 3, bias=False).bias is None


@MODES
def test_padding_agrees_with_numpy(mode):
    import numpy as np

    x = noise(1, 2, 3, 4, 5)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 2), (0, 3), (2, 0)), NUMPY_MODES[mode])
    np.testing.assert_array_equal(pad(x, (1, 0, 2), (2, 3, 0), mode).numpy(), expected)


def test_one_stride_represents_all_axes():
    assert per_axis(2, 3) == (2, 2, 2)
    for strides in itertools.product((1, 2), repeat=3):
        assert per_axis(list(strides), 3) == strides


@pytest.mark.parametrize("strides", [3, 0, (2, 2), (2, 2, 4)])
def test_other_strides_are_refused(strides):
    with pytest.raises(ConfigError, match="a stride of 1 or 2 for each of 3 axes"):
        per_axis(strides, 3)
