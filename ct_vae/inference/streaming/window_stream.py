"""Streams of operators that need neighboring slices, which a line buffer keeps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ct_vae.blocks.receptive_field import Operator, ReceptiveField
from ct_vae.inference.streaming.graph import MapShape
from ct_vae.inference.streaming.streams import Stream

# Reads slices from any position on, given as a start and the tensor to fill.
Fetch = Callable[[int, torch.Tensor], object]


class WindowStream(Stream):
    """Operator that reads neighboring slices; no slice is read or computed twice.

    Args:
        source: Stream to read.
        field: Receptive field of the operator.
        run: Operator from the slices of several windows to slices of the result.
        shape: Shape of the result.
        slab: Largest number of slices of the result that are computed at once.
        fetch: Function that reads any slices of the source, for circular padding; optional.
    """

    def __init__(
        self,
        source: Stream,
        field: ReceptiveField,
        run: Operator,
        shape: MapShape,
        slab: int,
        fetch: Fetch | None = None,
    ) -> None:
        super().__init__(shape, source.dtype, source.device)
        self._field, self._run, self._steps = field, run, max(1, slab // field.repeats)
        self._window = _LineBuffer(source, field, self._steps, fetch)
        self._rest: torch.Tensor | None = None

    def read(self, count: int) -> torch.Tensor:
        """Compute the next slices, in several parts if they exceed a slab."""
        if self._rest is None and count <= self._steps * self._field.repeats:
            return self._next(count)
        out, done = self.empty(count), 0
        while done < count:
            part = self._next(min(count - done, self._steps * self._field.repeats))
            out[:, :, done : done + part.shape[2]] = part
            done += part.shape[2]
        return out

    def _next(self, count: int) -> torch.Tensor:
        if self._rest is not None:
            part, self._rest = self._rest, None
        else:
            lines = self._window.advance(-(-count // self._field.repeats))
            part = self._run(lines).to(self.dtype)
        if part.shape[2] > count:
            self._rest = part[:, :, count:]
        return part[:, :, :count]


class _LineBuffer:
    """Slices under a window that moves along the first axis, including padding."""

    def __init__(
        self, source: Stream, field: ReceptiveField, steps: int, fetch: Fetch | None
    ) -> None:
        self._source, self._field, self._fetch = source, field, fetch
        self._lines = source.empty(field.stride * (steps - 1) + field.kernel)
        self._gap = 0
        # Positions count from the first slice of the padded map.
        self._start = self._stop = 0

    def advance(self, steps: int) -> torch.Tensor:
        """Return the slices for the next steps."""
        if self._field.kernel == self._field.stride == 1:
            return self._source.view(steps)
        size = self._field.stride * (steps - 1) + self._field.kernel
        kept = self._stop - self._start
        if kept:
            self._lines[:, :, :kept] = self._lines[:, :, self._gap : self._gap + kept].clone()
        self._stop = self._start + size
        self._fill(self._start + kept)
        window = self._lines[:, :, :size]
        self._gap = self._field.stride * steps
        self._start += self._gap
        return window

    def _fill(self, first: int) -> None:
        """Fill the positions from ``first`` on: slices of the source, then padding."""
        low, length = self._field.low, self._source.shape[1]
        begin, end = max(first, low), min(self._stop, low + length)
        if begin < end:
            self._source.read_into(self._at(begin, end))
        outside = [p for p in range(first, self._stop) if not low <= p < low + length]
        for position in outside:
            self._extend(position, low, length)

    def _extend(self, position: int, low: int, length: int) -> None:
        out, mode = self._at(position, position + 1), self._field.mode
        if mode == "zeros":
            out.zero_()
        elif mode == "circular":
            assert self._fetch is not None, "what wraps around is buffered"
            self._fetch((position - low) % length, out)
        else:
            border = low if position < low else low + length - 1
            inside = border if mode == "replicate" else 2 * border - position
            out.copy_(self._at(inside, inside + 1))

    def _at(self, start: int, stop: int) -> torch.Tensor:
        return self._lines[:, :, start - self._start : stop - self._start]
