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
        sinks: For each step, the buffers that its result contributes to directly.
    """

    users: tuple[tuple[int, ...], ...]
    buffered: tuple[int, ...]
    last_use: dict[int, int]
    moments: frozenset[int]
    sinks: tuple[frozenset[int], ...]


def schedule(steps: Sequence[Step], cuts: frozenset[int] = frozenset()) -> Schedule:
    """Buffer the inputs of operators that need a complete map, and results that must wait for them.

    Between these operators, slabs pass from step to step. A result with several consumers is passed
    to all of them at once. This requires that none of them waits for a later complete map and that
    all of them contribute to the same buffer.

    Args:
        steps: Traced operators of a module.
        cuts: Further steps whose results are buffered, to save memory; defaults to none.
    """
    users = tuple(
        tuple(j for j, other in enumerate(steps) if i in other.sources) for i in range(len(steps))
    )
    kept = {0, len(steps) - 1} | cuts
    kept |= {step.sources[0] for step in steps if step.needs_whole}
    while more := _waiting(steps, users, kept):
        kept |= more
    sinks = _sinks(users, kept)
    buffered = tuple(sorted(kept - {0}))
    last_use = {i: max({i}.union(*(sinks[j] for j in users[i]))) for i in kept}
    moments = {step.sources[0] for step in steps if _needs_moments(step)}
    return Schedule(users, buffered, last_use, frozenset(moments), sinks)


def _waiting(steps: Sequence[Step], users: Sequence[Sequence[int]], kept: set[int]) -> set[int]:
    """Return results with several consumers that cannot all read them at the same time."""
    phases, sinks = _phases(steps, kept), _sinks(users, kept)
    shared = (i for i, each in enumerate(users) if len(each) > 1 and i not in kept)
    return {
        i
        for i in shared
        if len(frozenset().union(*(sinks[j] for j in users[i]))) > 1
        or any(phases[j] > phases[i] for j in users[i])
    }


def _phases(steps: Sequence[Step], kept: set[int]) -> list[int]:
    """Return, for each step, the number of buffers that must be filled before it can begin."""
    phases: list[int] = []
    for step in steps:
        before = [phases[i] + (i in kept) for i in step.sources]
        phases.append(max(before, default=0))
    return phases


def _sinks(users: Sequence[Sequence[int]], kept: set[int]) -> tuple[frozenset[int], ...]:
    """Return, for each step, the buffers that its result contributes to directly."""
    sinks: dict[int, frozenset[int]] = {}
    for i in reversed(range(len(users))):
        through = frozenset[int]().union(*(sinks[j] for j in users[i]))
        sinks[i] = frozenset({i}) if i in kept else through
    return tuple(sinks[i] for i in range(len(users)))


def _needs_moments(step: Step) -> bool:
    module = step.module
    if isinstance(module, SpatialSelfAttention):
        module = module.norm
    return isinstance(module, nn.GroupNorm)
