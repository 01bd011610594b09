import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.inference.streaming.fan_out_stream import FanOutStream
from tests.inference.streaming._slabs import feature_map, stream_of


@given(data=st.data(), lag=st.integers(1, 4))
def test_readers_of_different_speed_get_all_of_their_slices(data, lag):
    x = feature_map(12)
    fan_out = FanOutStream(stream_of(x), lag + 4)
    starts = [0, data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))]
    readers = [fan_out.reader(start, 12) for start in starts]
    parts = [[] for _ in readers]
    positions = list(starts)
    while min(positions) < 12:
        # The slowest reader reads, or another one that is not too far ahead.
        able = [k for k, p in enumerate(positions) if p < min(12, min(positions) + lag)]
        k = data.draw(st.sampled_from(able))
        count = data.draw(st.integers(1, min(12, min(positions) + lag) - positions[k]))
        parts[k].append(readers[k].view(count).clone() if count % 2 else readers[k].read(count))
        positions[k] += count
    for start, part in zip(starts, parts, strict=True):
        assert torch.cat(part, dim=2).equal(x[:, :, start:])
