from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.inference.streaming.feature_buffer import FeatureBuffer, FeatureBufferPool
from ct_vae.inference.streaming.streams import (
    BufferStream,
    InputStream,
    PerSliceStream,
    RepeatedStream,
    SumStream,
    VoxelStream,
    lines_of,
)
from tests.inference.streaming._slabs import feature_map, read_all, stream_of

cuts = st.lists(st.integers(1, 30), max_size=5)


@given(cuts=cuts, start=st.integers(0, 4), length=st.integers(1, 6))
def test_an_input_gives_its_slices(cuts, start, length):
    x = feature_map()
    stream = InputStream(x, x.device, start, start + length)
    assert stream.shape == (3, length, 4, 5)
    assert read_all(stream, cuts).equal(x[:, :, start : start + length])


@pytest.mark.parametrize("kind", ["device", "disk"])
def test_a_buffer_gives_the_slices_that_were_written(kind):
    x = feature_map()
    with closing(FeatureBufferPool(x.device, 2**20)) as pool:
        buffer = FeatureBuffer(x.shape[1:], x.dtype, pool.take(kind, x.nbytes))
        buffer.append(x)
        stream = BufferStream(buffer, x.device, 2, 9)
        assert read_all(stream, [1, 4, 6]).equal(x[:, :, 2:9])


@given(cuts=cuts)
def test_functions_of_voxels_are_applied_once_and_in_order(cuts):
    x = feature_map()
    stream = VoxelStream(VoxelStream(stream_of(x.clone()), lambda v: v.mul_(3)), lambda v: v + 1)
    assert read_all(stream, cuts[:1]).equal(3 * x + 1)


@given(cuts=cuts, slab=st.integers(1, 12))
def test_a_sum_is_that_of_both_streams(cuts, slab):
    a, b = feature_map(), feature_map().flip(2)
    assert read_all(SumStream(stream_of(a), stream_of(b.clone()), slab), cuts).equal(a + b)


@given(cuts=cuts)
def test_an_operator_of_slices_never_changes_its_source(cuts):
    x = feature_map()
    kept = x.clone()
    for run in (lambda v: v, lambda v: v.flip(3), lambda v: v[:, :2]):
        stream = PerSliceStream([stream_of(x)], run, tuple(run(x).shape[1:]))
        read_all(stream, cuts).zero_()
        stream = PerSliceStream([stream_of(x)], run, tuple(run(x).shape[1:]))
        assert read_all(stream, cuts).equal(run(x))
        assert x.equal(kept)


@given(cuts=cuts, times=st.integers(1, 4), data=st.data())
def test_slices_are_repeated_from_any_repetition_on(cuts, times, data):
    x, skip = feature_map(5), data.draw(st.integers(0, times - 1))
    stream = RepeatedStream(stream_of(x), times, skip)
    assert read_all(stream, cuts).equal(x.repeat_interleave(times, dim=2)[:, :, skip:])


def test_lines_are_a_view():
    x = stream_of(feature_map()).empty(3).zero_()
    lines_of(x).add_(1)
    assert lines_of(x).shape == (1, 3, 12, 5)
    assert (x == 1).all()
