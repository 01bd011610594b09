"""Slices of every feature map that one of several processes owns or reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import gcd
from typing import NamedTuple

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.receptive_field import LocalModule, ReceptiveField
from ct_vae.errors import ConfigError
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.schedule import Schedule

_FULL = ReceptiveField()


class Extent(NamedTuple):
    """Slices ``start`` to ``stop`` of a map; beyond its ends, slices of the other end follow."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of slices."""
        return self.stop - self.start

    def union(self, other: Extent) -> Extent:
        """Return the smallest extent that contains both."""
        return Extent(min(self.start, other.start), max(self.stop, other.stop))


class SliceRun(NamedTuple):
    """Consecutive slices that one process needs of another.

    Attributes:
        owner: Process that owns the slices.
        first: First slice in the map.
        position: Position of the first slice as the reading process counts, see `Extent`.
        length: Number of slices.
    """

    owner: int
    first: int
    position: int
    length: int


class Partition:
    """Division of all maps of a module into one part per process.

    Args:
        steps: Traced operators.
        order: Schedule of the feature buffers.
        size: Number of processes.

    Raises:
        ConfigError: If the coarsest map has fewer slices than there are processes.
    """

    def __init__(self, steps: Sequence[Step], order: Schedule, size: int) -> None:
        self._steps, self._order, self.size = steps, order, size
        self._blocks = gcd(*(step.shape[1] for step in steps))
        if self._blocks < size:
            raise ConfigError(
                f"the volume can be divided into {self._blocks} parts along its first axis, not "
                f"among {size} processes",
                "start fewer processes, or divide the cases instead: leave out --split volume",
            )
        self._bounds = [self._blocks * rank // size for rank in range(size + 1)]

    def own(self, i: int, rank: int) -> Extent:
        """Return the slices of a step's result that a process computes and stores."""
        per_block = self._steps[i].shape[1] // self._blocks
        return Extent(per_block * self._bounds[rank], per_block * self._bounds[rank + 1])

    def segment(self, sink: int, rank: int) -> tuple[dict[int, Extent], dict[int, Extent]]:
        """Return what a process computes to fill a buffer.

        Returns:
            Slices of the results of all steps of the segment, and those read of buffers.
        """
        computed = {sink: self.own(sink, rank)}
        read: dict[int, Extent] = {}
        for j in range(sink, 0, -1):
            if j not in computed:
                continue
            for i in self._steps[j].sources:
                wanted = self.needed(j, i, computed[j])
                if isinstance(self._steps[j].module, SpatialSelfAttention):
                    wanted = wanted.union(self.own(i, rank))
                into = read if i == 0 or i in self._order.last_use else computed
                into[i] = into[i].union(wanted) if i in into else wanted
        return computed, read

    def stored(self, rank: int) -> dict[int, Extent]:
        """Return the slices of the input and of each buffer that a process owns or reads."""
        found = {i: self.own(i, rank) for i in (0, *self._order.buffered)}
        for sink in self._order.buffered:
            for i, extent in self.segment(sink, rank)[1].items():
                found[i] = found[i].union(extent)
        return found

    def needed(self, j: int, i: int, extent: Extent) -> Extent:
        """Return the slices of source ``i`` that give slices of the result of step ``j``."""
        length, step = self._steps[i].shape[1], self._steps[j]
        if len(step.sources) > 1:
            times = step.shape[1] // length
            return Extent(extent.start // times, -(-extent.stop // times))
        field = field_of(step)
        first = field.stride * (extent.start // field.repeats) - field.low
        stop = field.stride * (-(-extent.stop // field.repeats) - 1) - field.low + field.kernel
        if self.size > 1 and field.mode == "circular":
            return Extent(first, stop)
        return Extent(max(0, first), min(length, stop))

    def missing(self, i: int, stored: Mapping[int, Extent], rank: int) -> Iterator[SliceRun]:
        """Yield the slices of a map that a process stores and does not own."""
        length, own = self._steps[i].shape[1], self.own(i, rank)
        outside = [p for p in range(*stored[i]) if not own.start <= p < own.stop]
        owners = [self._owner(i, p % length) for p in outside]
        begin = 0
        for k in range(1, len(outside) + 1):
            if k < len(outside) and (
                outside[k] == outside[k - 1] + 1
                and owners[k] == owners[k - 1]
                and outside[k] % length == outside[k - 1] % length + 1
            ):
                continue
            yield SliceRun(owners[begin], outside[begin] % length, outside[begin], k - begin)
            begin = k

    def _owner(self, i: int, position: int) -> int:
        return next(r for r in range(self.size) if position < self.own(i, r).stop)


def field_of(step: Step) -> ReceptiveField:
    """Return the receptive field of a step, or one of single slices."""
    return step.module.receptive_field() if isinstance(step.module, LocalModule) else _FULL
