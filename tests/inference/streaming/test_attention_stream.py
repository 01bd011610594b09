import pytest
import torch

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.style import BlockStyle
from ct_vae.inference.streaming import attention_stream
from ct_vae.inference.streaming.attention_stream import AttentionStream, RingAttentionStream
from tests._asserts import assert_close
from tests.inference.streaming._slabs import feature_map, read_all, stream_of


@pytest.fixture
def block():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpatialSelfAttention(3, 3, BlockStyle(norm="rms")).double().requires_grad_(False)


class OneRing:
    """Blocks of keys and values, as several processes pass them round."""

    def __init__(self, blocks):
        self.blocks = blocks

    def pass_round(self, *own):
        yield from zip(*(torch.tensor_split(part, self.blocks, dim=2) for part in own), strict=True)


@pytest.mark.parametrize("slab", [1, 3, 11])
def test_slabs_attend_to_the_whole_map(block, slab, monkeypatch):
    monkeypatch.setattr(attention_stream, "_FEWEST_QUERIES", 7)
    monkeypatch.setattr(attention_stream, "_PAIRS", 1000)
    x = feature_map()
    sources = [stream_of(block.norm(x)), stream_of(block.norm(x)), stream_of(x.clone())]
    stream = AttentionStream(block, *sources, slab)
    assert_close(read_all(stream, [2, 7]), block(x), 1e-12)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_the_softmax_over_blocks_is_that_over_all_keys(block, blocks, monkeypatch):
    monkeypatch.setattr(attention_stream, "_FEWEST_QUERIES", 7)
    # Large scores overflow without subtraction of the highest one.
    x = 40 * feature_map()
    sources = [stream_of(block.norm(x)), stream_of(block.norm(x)), stream_of(x.clone())]
    stream = RingAttentionStream(block, *sources, 3, OneRing(blocks))
    assert_close(read_all(stream, [2, 7]), block(x), 1e-12)
