"""Thickness of slabs and locations of feature buffers, planned from the available memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.receptive_field import LocalModule
from ct_vae.errors import ConfigError
from ct_vae.inference.streaming.feature_buffer import BufferKind
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.schedule import Schedule, schedule

# Largest slab of a step's result in bytes. Thicker ones exceed a CPU's cache and were not faster.
_LARGEST_SLAB = 8 * 2**20
_THINNEST = 1
# Memory of libraries and allocators in addition to the counted tensors.
_UNSEEN = 64 * 2**20


@dataclass(frozen=True)
class StreamPlan:
    """Slabs and buffers of one module for volumes of one shape.

    Attributes:
        slab_bytes: Size of a slab of a step's result in bytes; a slab has at least one slice.
        kinds: Location of the buffer of each buffered step.
        bytes: Estimated peak memory in bytes, without input and output.
        disk_bytes: Peak size of all files in bytes.
    """

    slab_bytes: int
    kinds: dict[int, BufferKind]
    bytes: int
    disk_bytes: int

    def slab(self, step: Step) -> int:
        """Return the number of slices of a step's result that are computed at once."""
        return _thickness(step, self.slab_bytes)

    def thinnest(self, steps: Sequence[Step]) -> int:
        """Return the smallest number of slices that any step computes at once."""
        return min(self.slab(step) for step in steps[1:])


def plan_streams(
    steps: Sequence[Step],
    budget: int,
    host_budget: int | None = None,
    slab_bytes: int = _LARGEST_SLAB,
) -> StreamPlan:
    """Choose the thickest slabs that fit, then place feature buffers in the remaining memory.

    Args:
        steps: Traced operators of the module.
        budget: Available memory of the device in bytes.
        host_budget: Host memory for buffers in bytes, if the device is another; optional.
        slab_bytes: Largest size of a slab in bytes.

    Raises:
        ConfigError: If not even slabs of one slice fit.
    """
    order = schedule(steps)
    sizes = [slab_bytes]
    while sizes[-1] > _thinnest(steps):
        sizes.append(sizes[-1] // 2)
    for size in sizes:
        buffers = _buffers(steps, order, size)
        if buffers <= budget:
            kinds, device, disk = _place(steps, order, budget - buffers, host_budget or 0)
            return StreamPlan(size, kinds, buffers + device, disk)
    raise ConfigError(
        f"the thinnest slabs need about {buffers / 2**30:.2g} GiB of additional memory, "
        f"more than the {max(0, budget) / 2**30:.2g} GiB that are available",
        "raise --max-memory-gb, or use --tiling blend and a small --tile",
    )


def thinner(plan: StreamPlan, steps: Sequence[Step], host_budget: int) -> StreamPlan:
    """Return a plan with slabs half as thick, for a device whose memory was exceeded.

    All buffers leave the device, since they are the most likely cause.

    Args:
        plan: Plan for these operators.
        steps: Traced operators of the module.
        host_budget: Host memory for buffers in bytes; the others are stored in files.
    """
    order, slab_bytes = schedule(steps), plan.slab_bytes // 2
    kinds, _, disk = _place(steps, order, 0, host_budget)
    return StreamPlan(slab_bytes, kinds, _buffers(steps, order, slab_bytes), disk)


def _thickness(step: Step, slab_bytes: int) -> int:
    return max(_THINNEST, min(step.shape[1], slab_bytes // step.slice_bytes))


def _thinnest(steps: Sequence[Step]) -> int:
    return min(step.slice_bytes for step in steps)


def _buffers(steps: Sequence[Step], order: Schedule, slab_bytes: int) -> int:
    """Return the peak memory of all steps between two feature buffers."""
    inside: dict[int, int] = {}
    for i in range(len(steps)):
        for sink in _sinks(i, order):
            inside[sink] = inside.get(sink, 0) + _held(steps, i, slab_bytes)
    return max(inside.values()) + _UNSEEN


def _sinks(i: int, order: Schedule) -> set[int]:
    if i in order.buffered:
        return {i}
    return set().union(*(_sinks(j, order) for j in order.users[i])) if i else set()


def _held(steps: Sequence[Step], i: int, slab_bytes: int) -> int:
    """Return the memory of a step: its result, the slices it keeps, and temporary copies."""
    step = steps[i]
    slab = _thickness(step, slab_bytes)
    held = 2 * slab * step.slice_bytes
    source = steps[step.sources[0]] if step.sources else step
    if isinstance(step.module, LocalModule):
        field = step.module.receptive_field()
        runs = -(-slab // field.repeats)
        lines = field.stride * (runs - 1) + field.kernel
        # Once as read, once padded.
        held += 2 * lines * source.slice_bytes if field.kernel > 1 else slab * source.slice_bytes
    if isinstance(step.module, SpatialSelfAttention):
        held += 2 * step.bytes + 6 * slab * step.slice_bytes
    return held


def _place(
    steps: Sequence[Step], order: Schedule, available: int, host_available: int
) -> tuple[dict[int, BufferKind], int, int]:
    """Place each buffer where it fits during its lifetime: device first, then host, then a file."""
    kinds: dict[int, BufferKind] = {}
    limits: dict[BufferKind, int] = {"device": available, "host": host_available}
    peaks: dict[BufferKind, int] = {"device": 0, "host": 0, "disk": 0}
    for i in order.buffered[:-1]:
        alive = [j for j in kinds if order.last_use[j] >= i]
        for kind in ("device", "host", "disk"):
            held = sum(steps[j].bytes for j in alive if kinds[j] == kind) + steps[i].bytes
            if kind == "disk" or held <= limits[kind]:
                kinds[i] = kind
                peaks[kind] = max(peaks[kind], held)
                break
    return kinds, peaks["device"], peaks["disk"]
