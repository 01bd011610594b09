"""Stream with several consumers that read at different speeds."""

from __future__ import annotations

import torch

from ct_vae.inference.streaming.slice_window import SliceWindow
from ct_vae.inference.streaming.streams import FilledStream, Stream


class FanOutStream:
    """Stream with several readers; slices are kept until the slowest reader has read them.

    Args:
        source: Stream to read.
        capacity: Slices that are kept at most.
    """

    def __init__(self, source: Stream, capacity: int) -> None:
        self.source = source
        self._window = SliceWindow(source.empty, capacity)
        self._positions: list[int] = []

    def reader(self, start: int, stop: int) -> Stream:
        """Return a reader of slices ``start`` to ``stop``.

        All readers must be created before the first read.
        """
        self._positions.append(start)
        return _FanOutReader(self, len(self._positions) - 1, stop - start)

    def view(self, reader: int, count: int) -> torch.Tensor:
        """Return the next slices of a reader, valid until the next read of any reader."""
        start = self._positions[reader]
        stop = start + count
        self._window.drop(min(self._positions))
        if stop > self._window.stop:
            self.source.read_into(self._window.append(stop - self._window.stop))
        self._positions[reader] = stop
        return self._window.at(start, stop)


class _FanOutReader(FilledStream):
    def __init__(self, stream: FanOutStream, number: int, length: int) -> None:
        source = stream.source
        channels, _, y, z = source.shape
        super().__init__((channels, length, y, z), source.dtype, source.device)
        self._fan_out, self._number = stream, number

    def read_into(self, out: torch.Tensor) -> None:
        out.copy_(self._fan_out.view(self._number, out.shape[2]))

    def view(self, count: int) -> torch.Tensor:
        return self._fan_out.view(self._number, count)
