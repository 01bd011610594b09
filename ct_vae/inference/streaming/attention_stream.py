"""Self-attention over a whole feature map whose queries are processed slab by slab."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.inference.streaming.streams import Stream

# Query-key pairs per call, for devices whose attention kernels store the whole matrix.
_PAIRS = 2**26
_FEWEST_QUERIES = 256


class AttentionStream(Stream):
    """Attention of each slab to the keys and values of the whole map.

    Keys and values are kept in memory, the attention matrix is not.

    Args:
        block: Attention block.
        normalized: Factory of streams of the normalized map: one for keys and values, one for
            queries.
        source: Stream of the map itself, which is added to the result.
        slab: Slices whose keys and values are computed at once.
    """

    def __init__(
        self,
        block: SpatialSelfAttention,
        normalized: Callable[[], Stream],
        source: Stream,
        slab: int,
    ) -> None:
        super().__init__(source.shape, source.dtype, source.device, slab)
        self._block, self._source, self._queries = block, source, normalized()
        self._keys, self._values = self._gather(normalized(), slab)

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

    def _gather(self, stream: Stream, slab: int) -> tuple[torch.Tensor, torch.Tensor]:
        channels, x, y, z = stream.shape
        kept = [stream.empty(0).new_empty(1, 1, x * y * z, channels) for _ in range(2)]
        for start in range(0, x, slab):
            count = min(slab, x - start)
            h = stream.read(count)
            positions = slice(start * y * z, (start + count) * y * z)
            for out, layer in zip(kept, (self._block.k, self._block.v), strict=True):
                out[:, :, positions] = self._block._tokens(layer(h))
        return kept[0], kept[1]
