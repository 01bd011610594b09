"""Thickness of slabs and locations of feature buffers, planned from the available memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ct_vae.errors import ConfigError
from ct_vae.inference.streaming.cuts import cheapest_cuts, segment_bytes
from ct_vae.inference.streaming.feature_buffer import BufferKind
from ct_vae.inference.streaming.file_transfer import STAGED_BYTES
from ct_vae.inference.streaming.footprint import Footprints
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.placement import Placement, place_buffers
from ct_vae.inference.streaming.schedule import Schedule, schedule

# Largest slab of a step in bytes. Thicker ones exceed a CPU's cache and were not faster; a GPU
# needs much work at once.
LARGEST_SLAB = {"cpu": 8 * 2**20, "cuda": 256 * 2**20}
# Memory of libraries and allocators in addition to the counted tensors.
_UNSEEN = 10 * 2**20
# Shares of the budget that the streams between two buffers may take, tried in turn: what they
# leave is for buffers in memory.
_STREAM_SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15)
# Time to move a byte, relative to memory.
_COST: dict[BufferKind, float] = {"device": 1.0, "host": 3.0, "disk": 20.0}


@dataclass(frozen=True)
class StreamPlan:
    """Slabs and buffers of one module for volumes of one shape.

    Attributes:
        slab_bytes: Size of a slab of a step's result in bytes; a slab has at least one slice.
        slabs: Slices of each step's result that are computed at once.
        fan_out: Slices that are kept of each result with several consumers.
        cuts: Steps whose results are buffered only to save memory.
        kinds: Location of the buffer of each buffered step.
        bytes: Estimated peak memory in bytes, without input and output.
        host_bytes: Peak memory of buffers on the host in bytes, if the device is another, with that
            of transfers to files.
        disk_bytes: Peak size of all files in bytes.
    """

    slab_bytes: int
    slabs: tuple[int, ...]
    fan_out: dict[int, int]
    cuts: frozenset[int]
    kinds: dict[int, BufferKind]
    bytes: int
    host_bytes: int
    disk_bytes: int

    @property
    def thinnest(self) -> int:
        """Smallest number of slices that any step computes at once."""
        return min(self.slabs[1:])


def plan_streams(
    steps: Sequence[Step],
    budget: int,
    host_budget: int | None = None,
    slab_bytes: int = LARGEST_SLAB["cpu"],
    fixed: frozenset[int] = frozenset(),
) -> StreamPlan:
    """Choose slabs, further buffers and the locations of buffers that cost the least time.

    The thickest slabs are taken with which everything fits into memory without further buffers.
    Otherwise the bytes that buffers and thin slabs move are estimated for thinner slabs and for
    chains of operators that are cut into shorter ones.

    Args:
        steps: Traced operators of the module.
        budget: Available memory of the device in bytes.
        host_budget: Host memory for buffers in bytes, if the device is another; optional.
        slab_bytes: Largest size of a slab in bytes.
        fixed: Steps whose results are buffered in any case; defaults to none.

    Raises:
        ConfigError: If not even slabs of one slice fit.
    """
    least, lowest, best = 0, float("inf"), None
    for needed, order, footprints, cuts in _candidates(steps, budget, slab_bytes, fixed):
        least = min(least or needed, needed)
        if needed > budget:
            continue
        plan = _finish(steps, order, footprints, cuts, budget, host_budget or 0)
        cost = _cost(steps, order, footprints, plan)
        if cost < lowest:
            lowest, best = cost, plan
        if cuts == fixed and set(plan.kinds.values()) <= {"device"}:
            break
    if best is not None:
        return best
    raise ConfigError(
        f"the thinnest slabs need about {least / 2**30:.2g} GiB of additional memory, "
        f"more than the {max(0, budget) / 2**30:.2g} GiB that are available",
        "raise --max-memory-gb, or use --tiling blend and a small --tile",
    )


def smaller(plan: StreamPlan, steps: Sequence[Step], host_budget: int) -> StreamPlan | None:
    """Return a plan that needs less memory of a device, whose memory was exceeded.

    Slabs become half as thick. Only when all of them have a single slice do buffers leave the
    device.

    Args:
        plan: Plan for these operators.
        steps: Traced operators of the module.
        host_budget: Host memory for buffers in bytes.

    Returns:
        The plan, or ``None`` if nothing is left to be saved.
    """
    base, order = schedule(steps), schedule(steps, plan.cuts)
    footprints = Footprints(steps, base.users, plan.slab_bytes)
    for size in _sizes(steps, plan.slab_bytes)[1:]:
        footprints = Footprints(steps, base.users, size)
        if footprints.slabs != plan.slabs:
            return _finish(
                steps, order, footprints, plan.cuts, sys.maxsize, host_budget, plan.kinds
            )
    if "device" not in plan.kinds.values():
        return None
    return _finish(steps, order, footprints, plan.cuts, 0, host_budget)


def _candidates(
    steps: Sequence[Step], budget: int, slab_bytes: int, fixed: frozenset[int]
) -> Iterator[tuple[int, Schedule, Footprints, frozenset[int]]]:
    """Yield schedules and the least memory that they need, without cuts and thick slabs first."""
    base, available = schedule(steps, fixed), budget - _UNSEEN
    seen: set[tuple[int, ...]] = set()
    for size in _sizes(steps, slab_bytes):
        footprints = Footprints(steps, base.users, size)
        if footprints.slabs in seen:
            continue
        seen.add(footprints.slabs)
        tried: set[frozenset[int]] = set()
        for cuts in _cut_sets(steps, base, footprints, available):
            if cuts in tried:
                continue
            tried.add(cuts)
            order = schedule(steps, cuts | fixed) if cuts else base
            needed = max(segment_bytes(order, footprints).values()) + _UNSEEN
            yield needed, order, footprints, cuts | fixed


def _cut_sets(
    steps: Sequence[Step], base: Schedule, footprints: Footprints, available: int
) -> Iterator[frozenset[int]]:
    yield frozenset()
    for share in _STREAM_SHARES:
        yield cheapest_cuts(steps, base, footprints, int(share * available))


def _sizes(steps: Sequence[Step], slab_bytes: int) -> list[int]:
    thinnest = min(step.slice_bytes for step in steps)
    sizes = [slab_bytes]
    while sizes[-1] > thinnest:
        sizes.append(sizes[-1] // 2)
    return sizes


def _finish(
    steps: Sequence[Step],
    order: Schedule,
    footprints: Footprints,
    cuts: frozenset[int],
    budget: int,
    host_budget: int,
    kinds: Mapping[int, BufferKind] | None = None,
) -> StreamPlan:
    streams = segment_bytes(order, footprints)
    # A CPU accesses files from its own memory.
    staged = STAGED_BYTES if host_budget else 0
    limits: dict[BufferKind, int] = {"device": budget - _UNSEEN, "host": host_budget - staged}
    placed: Placement = place_buffers(steps, order, streams, limits, kinds)
    fan_out = {i: n for i, n in footprints.fan_out.items() if i not in order.last_use}
    return StreamPlan(
        slab_bytes=footprints.slab_bytes,
        slabs=footprints.slabs,
        fan_out=fan_out,
        cuts=cuts,
        kinds=placed.kinds,
        bytes=placed.device_bytes + _UNSEEN,
        host_bytes=placed.host_bytes + (staged if placed.disk_bytes else 0),
        disk_bytes=placed.disk_bytes,
    )


def _cost(
    steps: Sequence[Step], order: Schedule, footprints: Footprints, plan: StreamPlan
) -> float:
    """Return the bytes that buffers and moving lines cost, disks counted by their lower speed."""
    buffers = sum(
        steps[i].bytes * (1 + len(order.users[i])) * _COST[kind] for i, kind in plan.kinds.items()
    )
    slabs = (step.shape[1] / n for step, n in zip(steps, plan.slabs, strict=True))
    lines = sum(count * each.kept for count, each in zip(slabs, footprints.of_steps, strict=True))
    return buffers + lines
