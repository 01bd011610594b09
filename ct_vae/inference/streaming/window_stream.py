"""Streams of operators that need neighboring slices, which a line buffer keeps."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ct_vae.blocks.receptive_field import Operator, ReceptiveField
from ct_vae.inference.streaming.graph import MapShape
from ct_vae.inference.streaming.slice_window import SliceWindow
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
        skip: Slices of the result of the first step that are left out; defaults to 0.
    """

    def __init__(
        self,
        source: Stream,
        field: ReceptiveField,
        run: Operator,
        shape: MapShape,
        slab: int,
        fetch: Fetch | None = None,
        skip: int = 0,
    ) -> None:
        super().__init__(shape, source.dtype, source.device, slab)
        self._field, self._run, self._steps = field, run, window_steps(field, slab)
        self._window = _LineBuffer(source, field, self._steps, fetch)
        self._rest: torch.Tensor | None = None
        self._skip = skip

    def read(self, count: int) -> torch.Tensor:
        """Compute the next slices, in several parts if they exceed a slab."""
        if self._rest is None and count <= self._steps * self._field.repeats:
            return self._next(count)
        out = self.empty(count)
        self.read_into(out)
        return out

    def read_into(self, out: torch.Tensor) -> None:
        """Compute the next slices, in several parts if they exceed a slab."""
        done, count = 0, out.shape[2]
        while done < count:
            part = self._next(min(count - done, self._steps * self._field.repeats))
            out[:, :, done : done + part.shape[2]] = part
            done += part.shape[2]

    def _next(self, count: int) -> torch.Tensor:
        if self._rest is not None:
            part, self._rest = self._rest, None
        else:
            lines = self._window.advance(-(-(count + self._skip) // self._field.repeats))
            part = self._run(lines).to(self.dtype)[:, :, self._skip :]
            self._skip = 0
        if part.shape[2] > count:
            self._rest = part[:, :, count:]
        return part[:, :, :count]


def window_steps(field: ReceptiveField, slab: int) -> int:
    """Return the number of steps of an operator that give a slab of slices."""
    return max(1, slab // field.repeats)


def kept_lines(field: ReceptiveField, slab: int) -> int:
    """Return the number of slices that a stream of an operator stores of its source."""
    if field.kernel == field.stride == 1:
        return 0
    steps = window_steps(field, slab)
    # With one step at a time, spare slices halve how often the kept ones must move.
    return field.stride * (steps - 1 + (steps == 1)) + field.kernel


class _LineBuffer:
    """Slices under a window that moves along the first axis, including padding."""

    def __init__(
        self, source: Stream, field: ReceptiveField, steps: int, fetch: Fetch | None
    ) -> None:
        self._source, self._field, self._fetch = source, field, fetch
        # Positions count from the first slice of the padded map.
        self._lines = SliceWindow(source.empty, kept_lines(field, steps * field.repeats))

    def advance(self, steps: int) -> torch.Tensor:
        """Return the slices for the next steps."""
        field, lines = self._field, self._lines
        if field.kernel == field.stride == 1:
            return self._source.view(steps)
        start = lines.start
        stop = start + field.stride * (steps - 1) + field.kernel
        first = lines.stop
        lines.append(stop - first)
        self._fill(first, stop)
        window = lines.at(start, stop)
        lines.drop(start + field.stride * steps)
        return window

    def _fill(self, first: int, stop: int) -> None:
        """Fill the positions from ``first`` on: slices of the source, then padding."""
        low, length = self._field.low, self._source.shape[1]
        begin, end = max(first, low), min(stop, low + length)
        if begin < end:
            self._source.read_into(self._lines.at(begin, end))
        outside = [p for p in range(first, stop) if not low <= p < low + length]
        for position in outside:
            self._extend(position, low, length)

    def _extend(self, position: int, low: int, length: int) -> None:
        out, mode = self._lines.at(position, position + 1), self._field.mode
        if mode == "zeros":
            out.zero_()
        elif mode == "circular":
            assert self._fetch is not None, "what wraps around is buffered"
            self._fetch((position - low) % length, out)
        else:
            border = low if position < low else low + length - 1
            inside = border if mode == "replicate" else 2 * border - position
            out.copy_(self._lines.at(inside, inside + 1))
