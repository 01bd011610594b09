import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.blocks.receptive_field import ReceptiveField
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.window_stream import WindowStream, kept_lines, window_steps
from tests._asserts import assert_close
from tests.inference.streaming._slabs import feature_map, read_all, stream_of


def made(**options):
    """A convolution as the operator of a traced network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = ConvND(3, 3, 3, **options).double().requires_grad_(False)
    shape = tuple(feature_map().shape[1:])
    return trace_operators(nn.Sequential(conv), shape, torch.float64)[-1].module


OPERATORS = {
    "convolution": made(),
    "wide convolution": made(kernel=5),
    **{mode: made(padding_mode=mode) for mode in ("replicate", "reflect", "circular")},
}


@given(
    name=st.sampled_from(list(OPERATORS)),
    slab=st.integers(1, 13),
    cuts=st.lists(st.integers(1, 11), max_size=4),
)
def test_slabs_give_what_the_whole_map_gives(name, slab, cuts):
    x, operator = feature_map(), OPERATORS[name]
    expected = operator(x)
    stream = WindowStream(
        stream_of(x),
        operator.receptive_field(),
        operator.unpadded_operator(),
        tuple(expected.shape[1:]),
        slab,
        lambda start, out: out.copy_(x[:, :, start : start + out.shape[2]]),
    )
    assert_close(read_all(stream, cuts), expected, 1e-12)


@pytest.mark.parametrize("slab", [1, 2, 5, 22])
@pytest.mark.parametrize("skip", [0, 1])
def test_operators_that_write_several_slices_may_start_within_them(slab, skip):
    class Twice:
        field = ReceptiveField(kernel=1, repeats=2)

        def __call__(self, x):
            return x.repeat_interleave(2, dim=2)

    x, run = feature_map(), Twice()
    shape = (3, 22 - skip, 4, 5)
    stream = WindowStream(stream_of(x), run.field, run, shape, slab, skip=skip)
    assert read_all(stream, [3, 4, 9]).equal(run(x)[:, :, skip:])


@given(kernel=st.integers(1, 5), stride=st.integers(1, 3), slab=st.integers(1, 20))
def test_lines_suffice_for_the_steps_of_a_slab(kernel, stride, slab):
    field = ReceptiveField(kernel=kernel, stride=stride)
    steps = window_steps(field, slab)
    assert steps == slab
    if kernel == stride == 1:
        assert kept_lines(field, slab) == 0
    else:
        assert kept_lines(field, slab) >= stride * (steps - 1) + kernel
