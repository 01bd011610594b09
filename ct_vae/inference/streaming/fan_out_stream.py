"""A stream that several others read, each at its own pace."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import torch

from ct_vae.inference.streaming.streams import FilledStream, Stream


class SharedStream:
    """A stream with several readers: what the slower ones have not read waits."""

    def __init__(self, source: Stream) -> None:
        self.source = source
        self._slabs: deque[torch.Tensor] = deque()
        self._first = self._stop = 0
        self._places: list[int] = []

    def reader(self) -> Stream:
        """A reader from the first slice on; all are made before any reads."""
        self._places.append(0)
        return _SharedReader(self, len(self._places) - 1)

    def fill(self, reader: int, out: torch.Tensor) -> None:
        """Give a reader its next slices."""
        start = self._places[reader]
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
        self._places[reader] = stop
        self._drop()

    def _drop(self) -> None:
        slowest = min(self._places)
        while self._slabs and self._first + self._slabs[0].shape[2] <= slowest:
            self._first += self._slabs.popleft().shape[2]


class _SharedReader(FilledStream):
    def __init__(self, shared: SharedStream, number: int) -> None:
        source = shared.source
        super().__init__(source.shape, source.dtype, source.device)
        self._shared, self._number = shared, number

    def read_into(self, out: torch.Tensor) -> None:
        self._shared.fill(self._number, out)
