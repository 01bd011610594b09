"""How thick slabs are and where spools lie, settled before any work by what memory there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.receptive_field import LocalModule
from ct_vae.errors import ConfigError
from ct_vae.inference.streaming.feature_buffer import SpoolKind
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.schedule import Schedule, schedule

# Of a slab of one step's result. Thicker ones were not faster on a CPU and leave its cache.
_LARGEST_SLAB = 8 * 2**20
_THINNEST = 1
# What libraries and allocators hold beside the tensors that are counted.
_UNSEEN = 64 * 2**20


@dataclass(frozen=True)
class StreamPlan:
    """How one module treats volumes of one size.

    Attributes:
        slab_bytes: Of the result of a step that is computed in one go; one slice at least.
        kinds: For each spooled step, where its result lies.
        bytes: Estimate of the most memory that is held at a time beside input and output.
        disk_bytes: Most that lies in files at a time.
    """

    slab_bytes: int
    kinds: dict[int, SpoolKind]
    bytes: int
    disk_bytes: int

    def slab(self, step: Step) -> int:
        """Slices of the result of a step that are computed in one go."""
        return _thickness(step, self.slab_bytes)

    def thinnest(self, steps: Sequence[Step]) -> int:
        """Fewest slices that any step computes in one go."""
        return min(self.slab(step) for step in steps[1:])


def plan_streams(
    steps: Sequence[Step],
    budget: int,
    host_budget: int | None = None,
    slab_bytes: int = _LARGEST_SLAB,
) -> StreamPlan:
    """Choose the thickest slabs that fit, then put spools where there is room left.

    Args:
        steps: Of the module.
        budget: Bytes that may be taken on the device.
        host_budget: Bytes of host memory for spools, where the device is another.
        slab_bytes: Most that a slab may have.

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
        f"the thinnest slabs need about {buffers / 2**30:.2g} GiB beside what is held already, "
        f"more than the {max(0, budget) / 2**30:.2g} GiB left",
        "raise --max-memory-gb, or take --tiling blend and a small --tile",
    )


def thinner(plan: StreamPlan, steps: Sequence[Step], host_budget: int) -> StreamPlan:
    """The plan with half as thick slabs, for a device that did not hold it.

    Spools leave the device at once: what it could not hold are most often these.

    Args:
        plan: Made for these steps.
        steps: Of the module.
        host_budget: Bytes of host memory for spools; files take the others.
    """
    order, slab_bytes = schedule(steps), plan.slab_bytes // 2
    kinds, _, disk = _place(steps, order, 0, host_budget)
    return StreamPlan(slab_bytes, kinds, _buffers(steps, order, slab_bytes), disk)


def _thickness(step: Step, slab_bytes: int) -> int:
    return max(_THINNEST, min(step.shape[1], slab_bytes // step.slice_bytes))


def _thinnest(steps: Sequence[Step]) -> int:
    return min(step.slice_bytes for step in steps)


def _buffers(steps: Sequence[Step], order: Schedule, slab_bytes: int) -> int:
    """Most that all steps between two spools hold at a time."""
    inside: dict[int, int] = {}
    for i in range(len(steps)):
        for sink in _sinks(i, order):
            inside[sink] = inside.get(sink, 0) + _held(steps, i, slab_bytes)
    return max(inside.values()) + _UNSEEN


def _sinks(i: int, order: Schedule) -> set[int]:
    if i in order.spooled:
        return {i}
    return set().union(*(_sinks(j, order) for j in order.users[i])) if i else set()


def _held(steps: Sequence[Step], i: int, slab_bytes: int) -> int:
    """A step's result, the lines it keeps, and the copies that its operators make."""
    step = steps[i]
    slab = _thickness(step, slab_bytes)
    held = 2 * slab * step.slice_bytes
    source = steps[step.sources[0]] if step.sources else step
    if isinstance(step.module, LocalModule):
        reach = step.module.receptive_field()
        runs = -(-slab // reach.repeats)
        lines = reach.stride * (runs - 1) + reach.kernel
        # Once as they lie, once padded.
        held += 2 * lines * source.slice_bytes if reach.kernel > 1 else slab * source.slice_bytes
    if isinstance(step.module, SpatialSelfAttention):
        held += 2 * step.bytes + 6 * slab * step.slice_bytes
    return held


def _place(
    steps: Sequence[Step], order: Schedule, room: int, host_room: int
) -> tuple[dict[int, SpoolKind], int, int]:
    """Put each spool where there is room while it is needed; the device first, a file last."""
    kinds: dict[int, SpoolKind] = {}
    limits: dict[SpoolKind, int] = {"device": room, "host": host_room}
    peaks: dict[SpoolKind, int] = {"device": 0, "host": 0, "disk": 0}
    for i in order.spooled[:-1]:
        alive = [j for j in kinds if order.last_use[j] >= i]
        for kind in ("device", "host", "disk"):
            held = sum(steps[j].bytes for j in alive if kinds[j] == kind) + steps[i].bytes
            if kind == "disk" or held <= limits[kind]:
                kinds[i] = kind
                peaks[kind] = max(peaks[kind], held)
                break
    return kinds, peaks["device"], peaks["disk"]
