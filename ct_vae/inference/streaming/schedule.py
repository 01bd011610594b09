"""Schedule of the feature buffers: which results are stored, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.inference.streaming.graph import Step


@dataclass(frozen=True)
class Schedule:
    """Order and lifetime of feature buffers.

    Attributes:
        users: For each step, the steps that take its result.
        buffered: Steps whose results are stored completely, in the order of writing. They include
            the last step, whose result goes to the caller's sink.
        last_use: For each of these steps, the last write that reads its result.
        moments: Steps whose results need mean and variance.
    """

    users: tuple[tuple[int, ...], ...]
    buffered: tuple[int, ...]
    last_use: dict[int, int]
    moments: frozenset[int]


def schedule(steps: Sequence[Step]) -> Schedule:
    """Buffer the inputs of operators that need a complete map, and results that must wait for them.

    Between these operators, slabs pass from step to step. A result with several consumers is passed
    to all of them at once. This requires that none of them waits for a later complete map and that
    all of them contribute to the same buffer.
    """
    users = tuple(
        tuple(j for j, other in enumerate(steps) if i in other.sources) for i in range(len(steps))
    )
    kept = {0, len(steps) - 1}
    kept |= {step.sources[0] for step in steps if step.needs_whole}
    while more := {i for i, each in enumerate(users) if _must_wait(i, steps, users, kept)} - kept:
        kept |= more
    buffered = tuple(sorted(kept - {0}))
    last_use = {i: max({i}.union(*(_sinks(j, users, kept) for j in users[i]))) for i in kept}
    moments = {step.sources[0] for step in steps if _needs_moments(step)}
    return Schedule(users, buffered, last_use, frozenset(moments))


def _must_wait(
    i: int, steps: Sequence[Step], users: Sequence[Sequence[int]], kept: set[int]
) -> bool:
    if i in kept or len(users[i]) < 2:
        return False
    phases = _phases(steps, kept)
    sinks = [_sinks(j, users, kept) for j in users[i]]
    return len(set.union(*sinks)) > 1 or any(phases[j] > phases[i] for j in users[i])


def _phases(steps: Sequence[Step], kept: set[int]) -> list[int]:
    """Return, for each step, the number of buffers that must be filled before it can begin."""
    phases: list[int] = []
    for step in steps:
        before = [phases[i] + (i in kept) for i in step.sources]
        phases.append(max(before, default=0))
    return phases


def _sinks(i: int, users: Sequence[Sequence[int]], kept: set[int]) -> set[int]:
    """Return the buffers that the result of a step contributes to directly."""
    if i in kept:
        return {i}
    return set.union(*(_sinks(j, users, kept) for j in users[i]))


def _needs_moments(step: Step) -> bool:
    module = step.module
    if isinstance(module, SpatialSelfAttention):
        module = module.norm
    return isinstance(module, nn.GroupNorm)
