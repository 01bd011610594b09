"""Memory of the streams between two feature buffers, computed from the traced operators.

This follows the streams line by line: a change of what a stream allocates belongs here as well.
`scripts/bench_memory.py` compares the result with the memory of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.conv import PaddedConv
from ct_vae.blocks.downsample import BlurPoolND
from ct_vae.blocks.norm import Modulate
from ct_vae.blocks.receptive_field import LocalModule, PerVoxel, ReceptiveField
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.window_stream import kept_lines, window_steps

# Kernel positions within a slice that become channels of a convolution from or to one channel, in
# the layout of oneDNN as well.
_POSITIONS = 18
# Maps in memory during attention of a slab: normalized, queries, attended, projected, and copies.
_ATTENTION_SLABS = 6
# Slabs in memory while a map is modulated: source, scales and shifts, their sum and product.
_MODULATION_SLABS = 6
# Copies of the weights: in the layout of oneDNN, and on the way to it.
_WEIGHTS = 2
_FULL = ReceptiveField()


@dataclass(frozen=True)
class Footprint:
    """Memory of a step.

    Attributes:
        kept: Bytes that it holds from slab to slab.
        passing: Bytes that it needs while it computes a slab.
    """

    kept: int
    passing: int


class Footprints:
    """Memory of all steps for slabs of one size.

    Args:
        steps: Traced operators of a module.
        users: For each step, the steps that take its result.
        slab_bytes: Largest size of a slab in bytes, of the result and of the sources of a step.
    """

    def __init__(
        self, steps: Sequence[Step], users: Sequence[Sequence[int]], slab_bytes: int
    ) -> None:
        self._steps, self._users = steps, users
        self.slab_bytes = slab_bytes
        self.slabs = tuple(_slab(steps, step, slab_bytes) for step in steps)

    @cached_property
    def fan_out(self) -> dict[int, int]:
        """Slices that are kept of each result with several consumers."""
        return {i: self._fan_out(i) for i, users in enumerate(self._users) if len(users) > 1}

    @cached_property
    def of_steps(self) -> tuple[Footprint, ...]:
        """Footprint of each step."""
        return tuple(self._of(i) for i in range(len(self._steps)))

    def queue(self, i: int) -> int:
        """Return the bytes kept of a result with several consumers, unless it is buffered."""
        return self.fan_out.get(i, 0) * self._steps[i].slice_bytes

    def _of(self, i: int) -> Footprint:
        step, slab = self._steps[i], self.slabs[i]
        result = slab * step.slice_bytes
        module = step.module
        if isinstance(module, SpatialSelfAttention):
            return Footprint(2 * step.bytes, _ATTENTION_SLABS * result)
        if not isinstance(module, LocalModule) or isinstance(module, PerVoxel):
            return Footprint(0, len(step.sources) * result)
        if isinstance(module, Modulate):
            return Footprint(0, _MODULATION_SLABS * result)
        return self._window(step, slab)

    def _window(self, step: Step, slab: int) -> Footprint:
        field, source = _field(step), self._steps[step.sources[0]]
        result = window_steps(field, slab) * field.repeats * step.slice_bytes
        lines = kept_lines(field, slab) * source.slice_bytes
        rest = result if field.repeats > 1 else 0
        read = 0 if lines else -(-slab // field.repeats) * source.slice_bytes
        return Footprint(lines + rest, result + read + _scratch(step, result, lines))

    def _fan_out(self, i: int) -> int:
        """Return the most slices between the first and the last consumer of a result."""
        join = _join(self._users, i)
        slab = max(1, self.slabs[join])
        most = 0
        for before in range(0, 8 * slab, slab):
            ahead = self._positions(i, join, before + slab)
            behind = self._positions(i, join, before)
            most = max(most, max(ahead) - min(behind))
        return min(most, self._steps[i].shape[1])

    def _positions(self, i: int, join: int, count: int) -> list[int]:
        """Return how far each consumer of a step has read when ``join`` has given slices."""
        needed = {join: count}
        read: list[int] = []
        for j in range(join, i, -1):
            if j not in needed:
                continue
            for source in self._steps[j].sources:
                wanted = _wanted(self._steps[j], self._steps[source], needed[j])
                if source == i:
                    read.append(wanted)
                needed[source] = max(needed.get(source, 0), wanted)
        return read


def _slab(steps: Sequence[Step], step: Step, slab_bytes: int) -> int:
    """Return the slices of a step's result whose bytes, and those of their sources, fit."""
    length = step.shape[1]
    widest = max(step.slice_bytes, *(steps[i].bytes // length for i in step.sources), 1)
    return max(1, min(length, slab_bytes // widest))


def _field(step: Step) -> ReceptiveField:
    return step.module.receptive_field() if isinstance(step.module, LocalModule) else _FULL


def _wanted(step: Step, source: Step, count: int) -> int:
    """Return how many slices of a source give the first ``count`` slices of a step's result."""
    if not count:
        return 0
    if len(step.sources) > 1:
        # Slices of a shorter source are repeated.
        return -(-count * source.shape[1] // step.shape[1])
    field = _field(step)
    runs = -(-count // field.repeats)
    return min(source.shape[1], field.stride * (runs - 1) + field.kernel - field.low)


def _join(users: Sequence[Sequence[int]], i: int) -> int:
    """Return the first step that everything computed from the result of ``i`` passes through."""
    derived = {i}
    for j in range(i + 1, len(users)):
        if any(j in users[k] for k in derived):
            derived.add(j)
            if all(max(users[k], default=j) <= j for k in derived - {j}):
                return j
    return len(users) - 1


def _scratch(step: Step, result: int, lines: int) -> int:
    """Return the memory that an operator needs in addition to its result."""
    module = step.module
    assert isinstance(module, LocalModule)
    if isinstance(module, BlurPoolND):
        return 3 * lines
    convs = [part for part in module.modules() if isinstance(part, nn.Conv3d)]
    if not convs:
        return result
    weights = _WEIGHTS * sum(p.nbytes for p in convs[0].parameters())
    if convs[0].in_channels == 1:
        return _POSITIONS * lines
    if convs[0].out_channels == 1:
        return _POSITIONS * result
    copied = isinstance(module, PaddedConv) and module.low[1:] != module.high[1:]
    padded = copied or convs[0].padding_mode != "zeros" or _field(step).mode != "zeros"
    return weights + (lines if padded else 0)
