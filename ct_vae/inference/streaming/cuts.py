"""Choice of further feature buffers that divide a chain of operators to save memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from ct_vae.inference.streaming.footprint import Footprints
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.schedule import Schedule, schedule


def segment_bytes(order: Schedule, footprints: Footprints) -> dict[int, int]:
    """Return the peak memory of the streams that fill each buffer."""
    kept = dict.fromkeys(order.buffered, 0)
    passing = dict.fromkeys(order.buffered, 0)
    for i, each in enumerate(footprints.of_steps[1:], start=1):
        queue = 0 if i in order.last_use else footprints.queue(i)
        for sink in order.sinks[i]:
            kept[sink] += each.kept + queue
            passing[sink] = max(passing[sink], each.passing)
    return {sink: kept[sink] + passing[sink] for sink in order.buffered}


def cheapest_cuts(
    steps: Sequence[Step], order: Schedule, footprints: Footprints, limit: int
) -> frozenset[int]:
    """Choose the steps to buffer so that the streams between two buffers need at most ``limit``.

    A cut after a step buffers every result that a later step still needs. Among all sets of cuts,
    the one that writes and reads the fewest bytes is found by dynamic programming over the last
    cut. Steps that alone exceed the limit are cut off on both sides.

    Args:
        steps: Traced operators of a module.
        order: Schedule without cuts.
        footprints: Memory of the steps.
        limit: Memory in bytes.

    Returns:
        Steps whose results are buffered, in addition to those of ``order``.
    """
    count = len(steps)
    forced = set(order.last_use)
    alive = [_alive(order, i) for i in range(count)]
    # Least traffic of all cuts up to a step, and the cut before.
    costs: list[float] = [0.0]
    before = [0]
    for stop in range(1, count):
        best, best_start = float("inf"), stop - 1
        kept = passing = 0
        for start in range(stop - 1, -1, -1):
            each = footprints.of_steps[start + 1]
            kept += each.kept + footprints.queue(start + 1)
            passing = max(passing, each.passing)
            if kept + passing > limit and start < stop - 1:
                break
            fresh = alive[stop] - alive[start] - forced
            cost = costs[start] + sum(_traffic(steps, order, i) for i in fresh)
            if cost < best:
                best, best_start = cost, start
            if alive[start] <= forced and start:
                # Everything that is needed here is buffered anyway.
                break
        costs.append(best)
        before.append(best_start)
    return _chosen(before, alive, forced)


def residual_sums(steps: Sequence[Step]) -> frozenset[int]:
    """Return the steps that end a residual block and are all that later steps need.

    Processes that divide a volume buffer these results: otherwise the slices that they compute
    twice, at the borders of their parts, would grow from block to block.
    """
    order = schedule(steps)
    return frozenset(
        i
        for i, step in enumerate(steps[:-1])
        if getattr(step.module, "function", None) is torch.add and _alive(order, i) == {i}
    )


def _chosen(before: Sequence[int], alive: Sequence[set[int]], forced: set[int]) -> frozenset[int]:
    ends = [len(before) - 1]
    while ends[-1]:
        ends.append(before[ends[-1]])
    chosen: set[int] = set()
    for _, stop in pairwise(reversed(ends)):
        chosen |= alive[stop]
    return frozenset(chosen - forced)


def _alive(order: Schedule, i: int) -> set[int]:
    """Return the results up to step ``i``, without the input, that later steps need."""
    return {j for j in range(1, i + 1) if any(user > i for user in order.users[j])}


def _traffic(steps: Sequence[Step], order: Schedule, i: int) -> int:
    """Return the bytes that are written and read if the result of a step is buffered."""
    return steps[i].bytes * (1 + len(order.users[i]))
