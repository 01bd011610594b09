"""Stream with several consumers that read at different speeds."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import torch

from ct_vae.inference.streaming.streams import FilledStream, Stream


class FanOutStream:
    """Stream with several readers; slabs are kept until the slowest reader has read them."""

    def __init__(self, source: Stream) -> None:
        self.source = source
        self._slabs: deque[torch.Tensor] = deque()
        self._first = self._stop = 0
        self._positions: list[int] = []

    def reader(self) -> Stream:
        """Return a new reader; all readers must be created before the first read."""
        self._positions.append(0)
        return _FanOutReader(self, len(self._positions) - 1)

    def fill(self, reader: int, out: torch.Tensor) -> None:
        """Copy the next slices of a reader into ``out``."""
        start = self._positions[reader]
        stop = start + out.shape[2]
        if stop > self._stop:
            self._slabs.append(self.source.read(stop - self._stop))
            self._stop = stop
        edges = [self._first]
        for slab in self._slabs:
            edges.append(edges[-1] + slab.shape[2])
        for slab, (a, b) in zip(self._slabs, pairwise(edges), strict=True):
            here, there = max(a, start), min(b, stop)
            if here < there:
                out[:, :, here - start : there - start] = slab[:, :, here - a : there - a]
        self._positions[reader] = stop
        self._drop()

    def _drop(self) -> None:
        slowest = min(self._positions)
        while self._slabs and self._first + self._slabs[0].shape[2] <= slowest:
            self._first += self._slabs.popleft().shape[2]


class _FanOutReader(FilledStream):
    def __init__(self, stream: FanOutStream, number: int) -> None:
        source = stream.source
        super().__init__(source.shape, source.dtype, source.device)
        self._fan_out, self._number = stream, number

    def read_into(self, out: torch.Tensor) -> None:
        self._fan_out.fill(self._number, out)
