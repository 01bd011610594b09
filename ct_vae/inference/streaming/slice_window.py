"""Window over consecutive slices of a feature map that moves forward in fixed memory."""

from __future__ import annotations

from collections.abc import Callable

import torch


class SliceWindow:
    """Slices ``start`` to ``stop`` of a map, contiguous in memory.

    Slices are appended at the end and dropped at the beginning. The memory is allocated once; when
    its end is reached, the slices that are still needed move to its beginning.

    Args:
        empty: Function that allocates a number of slices.
        capacity: Slices that fit; grows if more are appended than planned.
    """

    def __init__(self, empty: Callable[[int], torch.Tensor], capacity: int) -> None:
        self._empty = empty
        self._slices = empty(capacity)
        self._origin = 0
        self.start = self.stop = 0

    def at(self, start: int, stop: int) -> torch.Tensor:
        """Return slices of the window without copying; valid until the next `append`."""
        return self._slices[:, :, start - self._origin : stop - self._origin]

    def drop(self, start: int) -> None:
        """Move the beginning of the window to slice ``start``, at most its end."""
        assert start <= self.stop, "no slice is left out"
        self.start = start

    def append(self, count: int) -> torch.Tensor:
        """Move the end of the window by ``count`` slices; return these for the caller to fill."""
        if self.stop + count - self._origin > self._slices.shape[2]:
            self._make_room(self.stop - self.start + count)
        self.stop += count
        return self.at(self.stop - count, self.stop)

    def _make_room(self, needed: int) -> None:
        kept, offset = self.stop - self.start, self.start - self._origin
        slices = self._slices
        if needed > slices.shape[2]:
            self._slices = self._empty(needed)
        # Parts as long as the distance do not overlap their new place.
        step = offset if self._slices is slices else max(1, kept)
        for first in range(0, kept, step):
            part = slices[:, :, offset + first : offset + min(first + step, kept)]
            self._slices[:, :, first : first + part.shape[2]].copy_(part)
        self._origin = self.start
