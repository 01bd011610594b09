"""Operators that read neighboring slices, which a buffer of lines keeps for them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ct_vae.blocks.receptive_field import Operator, ReceptiveField
from ct_vae.inference.streaming.graph import Shape
from ct_vae.inference.streaming.streams import Stream

# Reads slices from any place on.
Fetch = Callable[[int, torch.Tensor], object]


class WindowStream(Stream):
    """An operator that reads neighboring slices: nothing is read or computed twice.

    Args:
        source: What it reads.
        reach: Which slices.
        run: From slices under the kernel to those of the result.
        shape: Of the result.
        slab: Most slices of the result that are computed in one go.
        fetch: Reads the source from any slice on, where what lies beyond one end is the other.
    """

    def __init__(
        self,
        source: Stream,
        reach: ReceptiveField,
        run: Operator,
        shape: Shape,
        slab: int,
        fetch: Fetch | None = None,
    ) -> None:
        super().__init__(shape, source.dtype, source.device)
        self._reach, self._run, self._steps = reach, run, max(1, slab // reach.repeats)
        self._lines = _LineBuffer(source, reach, self._steps, fetch)
        self._rest: torch.Tensor | None = None

    def read(self, count: int) -> torch.Tensor:
        """Compute the next slices, in several goes where they are more than a slab."""
        if self._rest is None and count <= self._steps * self._reach.repeats:
            return self._next(count)
        out, done = self.empty(count), 0
        while done < count:
            part = self._next(min(count - done, self._steps * self._reach.repeats))
            out[:, :, done : done + part.shape[2]] = part
            done += part.shape[2]
        return out

    def _next(self, count: int) -> torch.Tensor:
        if self._rest is not None:
            part, self._rest = self._rest, None
        else:
            lines = self._lines.advance(-(-count // self._reach.repeats))
            part = self._run(lines).to(self.dtype)
        if part.shape[2] > count:
            self._rest = part[:, :, count:]
        return part[:, :, :count]


class _LineBuffer:
    """The slices under a kernel that moves along the first axis, borders included."""

    def __init__(
        self, source: Stream, reach: ReceptiveField, steps: int, fetch: Fetch | None
    ) -> None:
        self._source, self._reach, self._fetch = source, reach, fetch
        self._room = source.empty(reach.stride * (steps - 1) + reach.kernel)
        self._gap = 0
        # Places count from the first slice of the extended map.
        self._start = self._stop = 0

    def advance(self, steps: int) -> torch.Tensor:
        """The slices for the next steps."""
        if self._reach.kernel == self._reach.stride == 1:
            return self._source.view(steps)
        size = self._reach.stride * (steps - 1) + self._reach.kernel
        kept = self._stop - self._start
        if kept:
            self._room[:, :, :kept] = self._room[:, :, self._gap : self._gap + kept].clone()
        self._stop = self._start + size
        self._fill(self._start + kept)
        window = self._room[:, :, :size]
        self._gap = self._reach.stride * steps
        self._start += self._gap
        return window

    def _fill(self, first: int) -> None:
        """Fill the places from ``first`` on: from the source, then what lies beyond its ends."""
        low, length = self._reach.low, self._source.shape[1]
        begin, end = max(first, low), min(self._stop, low + length)
        if begin < end:
            self._source.read_into(self._at(begin, end))
        beyond = [p for p in range(first, self._stop) if not low <= p < low + length]
        for place in beyond:
            self._extend(place, low, length)

    def _extend(self, place: int, low: int, length: int) -> None:
        out, mode = self._at(place, place + 1), self._reach.mode
        if mode == "zeros":
            out.zero_()
        elif mode == "circular":
            assert self._fetch is not None, "what wraps around is spooled"
            self._fetch((place - low) % length, out)
        else:
            border = low if place < low else low + length - 1
            inside = border if mode == "replicate" else 2 * border - place
            out.copy_(self._at(inside, inside + 1))

    def _at(self, start: int, stop: int) -> torch.Tensor:
        return self._room[:, :, start - self._start : stop - self._start]
