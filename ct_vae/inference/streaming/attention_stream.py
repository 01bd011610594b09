"""Self-attention over a whole feature map whose queries are processed slab by slab."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.inference.streaming.ranks import Ranks
from ct_vae.inference.streaming.streams import Stream

# Query-key pairs per call, for devices whose attention kernels store the whole matrix.
_PAIRS = 2**26
_FEWEST_QUERIES = 256


class AttentionStream(Stream):
    """Attention of each slab to the keys and values of the whole map.

    Keys and values are kept in memory, the attention matrix is not.

    Args:
        block: Attention block.
        keys: Stream of the normalized map, for keys and values.
        queries: Stream of the normalized map, for queries.
        source: Stream of the map itself, which is added to the result.
        slab: Slices that are computed at once.
    """

    def __init__(
        self,
        block: SpatialSelfAttention,
        keys: Stream,
        queries: Stream,
        source: Stream,
        slab: int,
    ) -> None:
        super().__init__(source.shape, source.dtype, source.device, slab)
        self._block, self._source, self._queries = block, source, queries
        self._keys, self._values = _gather(keys, (block.k, block.v), block, slab)

    def read(self, count: int) -> torch.Tensor:
        """Compute the next slices."""
        h = self._queries.read(count)
        asked = self._block._tokens(self._block.q(h))
        step = max(_FEWEST_QUERIES, _PAIRS // self._keys.shape[2])
        found = [
            functional.scaled_dot_product_attention(some, self._keys, self._values)
            for some in torch.split(asked, step, dim=2)
        ]
        attended = torch.cat(found, dim=2)[:, 0].mT.reshape(h.shape)
        result: torch.Tensor = self._block.proj_out(attended)
        return self._source.read(count).add_(result)


class RingAttentionStream(Stream):
    """Attention to the keys and values of all processes, which are passed round in blocks.

    The softmax over all keys is merged from those over the blocks (Milakov and Gimelshein 2018; Liu
    et al. 2023).

    Args:
        block: Attention block.
        keys: Stream of the normalized slices that this process owns.
        queries: Stream of the normalized slices that it computes.
        source: Stream of the map itself, which is added to the result.
        slab: Slices that are computed at once.
        ranks: Processes.
    """

    def __init__(
        self,
        block: SpatialSelfAttention,
        keys: Stream,
        queries: Stream,
        source: Stream,
        slab: int,
        ranks: Ranks,
    ) -> None:
        super().__init__(source.shape, source.dtype, source.device, slab)
        self._block, self._source, self._position = block, source, 0
        own = _gather(keys, (block.k, block.v), block, slab)
        (asked,) = _gather(queries, (block.q,), block, slab)
        self._attended = _over_blocks(asked, ranks.pass_round(*own))

    def read(self, count: int) -> torch.Tensor:
        """Compute the next slices."""
        channels, _, y, z = self.shape
        start, stop = (n * y * z for n in (self._position, self._position + count))
        self._position += count
        tokens = self._attended[0, 0, start:stop]
        attended = tokens.mT.reshape(1, channels, count, y, z)
        result: torch.Tensor = self._block.proj_out(attended)
        return self._source.read(count).add_(result)


def _over_blocks(asked: torch.Tensor, blocks: Iterable[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """Return the attention of queries ``(1, 1, n, C)`` to blocks of keys and values."""
    result = torch.zeros_like(asked)
    total = asked.new_zeros(*asked.shape[:-1], 1)
    highest = torch.full_like(total, -torch.inf)
    for keys, values in blocks:
        step = max(_FEWEST_QUERIES, _PAIRS // keys.shape[2])
        for first in range(0, asked.shape[2], step):
            part = (..., slice(first, first + step), slice(None))
            scores = asked[part] @ keys.mT / asked.shape[-1] ** 0.5
            above = torch.maximum(highest[part], scores.amax(-1, keepdim=True))
            weights = (scores - above).exp_()
            before = (highest[part] - above).exp_()
            result[part] = result[part] * before + weights @ values
            total[part] = total[part] * before + weights.sum(-1, keepdim=True)
            highest[part] = above
    return result / total


def _gather(
    stream: Stream, layers: Sequence[nn.Module], block: SpatialSelfAttention, slab: int
) -> list[torch.Tensor]:
    """Return the tokens ``(1, 1, positions, C)`` that each layer computes from a whole stream."""
    channels, x, y, z = stream.shape
    kept = [stream.empty(0).new_empty(1, 1, x * y * z, channels) for _ in layers]
    for start in range(0, x, slab):
        count = min(slab, x - start)
        h = stream.read(count)
        positions = slice(start * y * z, (start + count) * y * z)
        for out, layer in zip(kept, layers, strict=True):
            out[:, :, positions] = block._tokens(layer(h))
    return kept
