"""Messages between processes that compute one volume together, by ``torch.distributed``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import distributed

from ct_vae.inference.streaming.extents import Extent, Partition
from ct_vae.inference.streaming.group_norm import RunningMoments


class Slices(Protocol):
    """Map whose slices can be read and written."""

    def read_into(self, start: int, out: torch.Tensor) -> None:
        """Fill ``(1, C, n, Y, Z)`` from slice ``start`` on."""

    def write(self, start: int, slab: torch.Tensor) -> None:
        """Write ``(1, C, n, Y, Z)`` from slice ``start`` on."""


class Ranks:
    """One of several processes that compute parts of the same maps.

    Messages are sent from host memory, which every backend supports.

    Args:
        rank: Number of this process.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def exchange(
        self,
        i: int,
        partition: Partition,
        stored: list[dict[int, Extent]],
        slices: Slices,
        like: torch.Tensor,
    ) -> None:
        """Send the slices of a map that other processes need, and receive those needed here.

        Args:
            i: Step whose result the map is.
            partition: Division of the maps.
            stored: For each process, the slices that it stores.
            slices: Map, of which this process has written the slices that it owns.
            like: Empty tensor with the type and the sizes of a slice ``(1, C, 0, Y, Z)``.
        """
        origin = stored[self.rank][i].start
        pending: list[tuple[distributed.Work | None, torch.Tensor, int | None]] = []
        for reader in range(self.size):
            for run in partition.missing(i, stored[reader], reader):
                if self.rank not in (reader, run.owner):
                    continue
                part = _slab(like, run.length)
                if run.owner == self.rank:
                    slices.read_into(run.first - origin, part)
                target = run.position - origin if reader == self.rank else None
                pending.append((self._move(part, run.owner, reader), part, target))
        for work, part, target in pending:
            if work is not None:
                work.wait()
            if target is not None:
                slices.write(target, part)

    def _move(self, part: torch.Tensor, source: int, target: int) -> distributed.Work | None:
        if source == target:
            return None
        flat = part.permute(0, 2, 3, 4, 1)
        if self.rank == source:
            return distributed.isend(flat, target)
        return distributed.irecv(flat, source)

    def merge(self, moments: RunningMoments) -> RunningMoments:
        """Merge the moments of all parts of a map, in the same order on every process."""
        mean, squares = moments.totals()
        count = torch.full_like(mean, moments.count)
        own = torch.stack([count, mean, squares]).cpu()
        parts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(parts, own)
        merged = RunningMoments(len(mean))
        for part in parts:
            merged.merge(int(part[0, 0]), *part[1:].to(mean.device))
        return merged

    def pass_round(self, *own: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield tensors of every process, own ones first, while the next ones are on their way.

        Args:
            own: Tensors of this process, of the same shape but for the second last axis.
        """
        current = [part.cpu().contiguous() for part in own]
        lengths: list[int] = [0] * self.size
        distributed.all_gather_object(lengths, current[0].shape[-2])
        for turn in range(self.size):
            works: list[distributed.Work | None] = []
            coming: list[torch.Tensor] = []
            if turn + 1 < self.size:
                length = lengths[(self.rank - turn - 1) % self.size]
                coming = [p.new_empty(*p.shape[:-2], length, p.shape[-1]) for p in current]
                after, before = (self.rank + 1) % self.size, (self.rank - 1) % self.size
                works = [distributed.isend(part, after) for part in current]
                works += [distributed.irecv(part, before) for part in coming]
            yield tuple(mine.to(first.device) for mine, first in zip(current, own, strict=True))
            for work in works:
                if work is not None:
                    work.wait()
            current = coming


def _slab(like: torch.Tensor, count: int) -> torch.Tensor:
    _, channels, _, y, z = like.shape
    return torch.empty(1, count, y, z, channels, dtype=like.dtype).permute(0, 4, 1, 2, 3)
