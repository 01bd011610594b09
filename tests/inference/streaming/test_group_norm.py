import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ct_vae.inference.streaming.group_norm import RunningMoments, rows_of
from tests._asserts import assert_close


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last_3d)


def normalized(x, norm, cuts):
    moments = RunningMoments(x.shape[1])
    for slab in torch.tensor_split(x, sorted(cuts), dim=2):
        if slab.shape[2]:
            moments.add(channels_last(slab))
    scale, shift = moments.affine(norm)
    return x.double() * scale.view(-1, 1, 1, 1) + shift.view(-1, 1, 1, 1)


@given(st.lists(st.integers(0, 9), max_size=4), st.sampled_from([1, 2, 6]), st.integers(0, 99))
def test_slabs_of_any_size_have_the_moments_of_the_whole(cuts, groups, seed):
    generator = torch.Generator().manual_seed(seed)
    norm = nn.GroupNorm(groups, 6, eps=1e-6).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(torch.randn(6, generator=generator))
        x = torch.randn(1, 6, 9, 5, 4, generator=generator, dtype=torch.float64)
        assert_close(normalized(x, norm, cuts), norm(x), 1e-12)


@pytest.mark.parametrize("mean", [1.0, 1e3, -1e4])
def test_a_large_mean_leaves_the_variance_its_digits(mean):
    """Sums of squares around zero would have none left in float32."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 16, 64, 64, generator=generator) + mean
    norm = nn.GroupNorm(2, 4, affine=False)
    expected = copy.deepcopy(norm).double()(x.double())
    assert_close(normalized(x, norm, [3, 9]), expected, 1e-5)


def test_many_values_add_up():
    """Two million values of one sign, which a float32 sum one by one would round off."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 2, 64, 128, 128, generator=generator)
    norm = nn.GroupNorm(1, 2)
    with torch.no_grad():
        assert_close(normalized(x, norm, [32]), copy.deepcopy(norm).double()(x.double()), 1e-6)


def test_half_precision_is_summed_in_single():
    x = (torch.rand(1, 2, 8, 64, 64) + 10).bfloat16()
    norm = nn.GroupNorm(1, 2)
    with torch.no_grad():
        assert_close(normalized(x, norm, []), copy.deepcopy(norm).double()(x.double()), 1e-5)


def test_rows_hold_whole_lines_of_voxels():
    x = channels_last(torch.arange(2 * 3 * 4 * 5.0).view(1, 2, 3, 4, 5))
    rows = rows_of(x)
    assert rows.shape == (12, 10)
    assert torch.equal(rows[0], x[0, :, 0, 0].T.flatten())
    rows.zero_()
    assert not x.any()
