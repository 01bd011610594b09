"""Which results of steps are kept whole, and from when until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.inference.streaming.graph import Step


@dataclass(frozen=True)
class Schedule:
    """When what is done.

    Attributes:
        users: For each step the steps that take its result.
        spooled: Steps whose results are written whole, in the order in which they are. The last
            step is among them, though it goes to where the caller wants it.
        last_use: For each of them, the last of these writings that reads it.
        moments: Those of which mean and variance are gathered.
    """

    users: tuple[tuple[int, ...], ...]
    spooled: tuple[int, ...]
    last_use: dict[int, int]
    moments: frozenset[int]


def schedule(steps: Sequence[Step]) -> Schedule:
    """Spool what barriers take, and what would else have to wait for them.

    Between barriers, slabs flow from step to step. A result with several users is handed to all of
    them while it passes, which works only where none of them waits for a later barrier and all
    flow into the same spool.
    """
    users = tuple(
        tuple(j for j, other in enumerate(steps) if i in other.sources) for i in range(len(steps))
    )
    kept = {0, len(steps) - 1}
    kept |= {step.sources[0] for step in steps if step.needs_whole}
    while more := {i for i, each in enumerate(users) if _must_wait(i, steps, users, kept)} - kept:
        kept |= more
    spooled = tuple(sorted(kept - {0}))
    last_use = {i: max({i}.union(*(_sinks(j, users, kept) for j in users[i]))) for i in kept}
    moments = {step.sources[0] for step in steps if _needs_moments(step)}
    return Schedule(users, spooled, last_use, frozenset(moments))


def _must_wait(
    i: int, steps: Sequence[Step], users: Sequence[Sequence[int]], kept: set[int]
) -> bool:
    if i in kept or len(users[i]) < 2:
        return False
    phases = _phases(steps, kept)
    sinks = [_sinks(j, users, kept) for j in users[i]]
    return len(set.union(*sinks)) > 1 or any(phases[j] > phases[i] for j in users[i])


def _phases(steps: Sequence[Step], kept: set[int]) -> list[int]:
    """How many spools were filled one after the other before a step can begin."""
    phases: list[int] = []
    for step in steps:
        before = [phases[i] + (i in kept) for i in step.sources]
        phases.append(max(before, default=0))
    return phases


def _sinks(i: int, users: Sequence[Sequence[int]], kept: set[int]) -> set[int]:
    """Spools that the result of a step flows into without another between."""
    if i in kept:
        return {i}
    return set.union(*(_sinks(j, users, kept) for j in users[i]))


def _needs_moments(step: Step) -> bool:
    module = step.module
    if isinstance(module, SpatialSelfAttention):
        module = module.norm
    return isinstance(module, nn.GroupNorm)
