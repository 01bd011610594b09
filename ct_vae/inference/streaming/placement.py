"""Placement of feature buffers in the memory of the device, in that of the host, or in files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ct_vae.inference.streaming.feature_buffer import KINDS, BufferKind, StoreSizes, store_bytes
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.schedule import Schedule

_NEXT: dict[BufferKind, BufferKind] = {"device": "host", "host": "disk"}


@dataclass(frozen=True)
class Placement:
    """Locations of all feature buffers.

    Attributes:
        kinds: Location of each buffer.
        device_bytes: Peak memory of the device with the streams that fill the buffers.
        host_bytes: Peak memory of buffers on the host.
        disk_bytes: Peak size of all files.
    """

    kinds: dict[int, BufferKind]
    device_bytes: int
    host_bytes: int
    disk_bytes: int


def place_buffers(
    steps: Sequence[Step],
    order: Schedule,
    streams: Mapping[int, int],
    limits: Mapping[BufferKind, int],
    first: Mapping[int, BufferKind] | None = None,
) -> Placement:
    """Place as many buffers as fit on the device, then on the host, and the others in files.

    While a limit is exceeded, the largest buffer that is alive at the peak moves on.

    Args:
        steps: Traced operators of a module.
        order: Schedule of the buffers.
        streams: Memory of the device that is needed while each buffer is filled.
        limits: Available bytes of ``device`` and ``host``.
        first: Locations to begin with; by default, all buffers are on the device.
    """
    kinds: dict[int, BufferKind] = dict.fromkeys(order.buffered[:-1], "device")
    kinds.update(first or {})
    uses: dict[BufferKind, dict[int, int]] = {
        kind: _use(steps, order, kinds, kind) for kind in KINDS
    }
    while True:
        device = {i: uses["device"][i] + streams[i] for i in order.buffered}
        moving = _excess(steps, order, kinds, {"device": device, "host": uses["host"]}, limits)
        if moving is None:
            peaks = (max(u.values()) for u in (device, uses["host"], uses["disk"]))
            return Placement(kinds, *peaks)
        before, kinds[moving] = kinds[moving], _NEXT[kinds[moving]]
        for kind in (before, kinds[moving]):
            uses[kind] = _use(steps, order, kinds, kind)


def _excess(
    steps: Sequence[Step],
    order: Schedule,
    kinds: Mapping[int, BufferKind],
    uses: Mapping[BufferKind, Mapping[int, int]],
    limits: Mapping[BufferKind, int],
) -> int | None:
    """Return the largest buffer in memory at the highest use above a limit, if there is one."""
    for kind, held in uses.items():
        above = [at for at in held if held[at] > limits[kind]]
        for at in sorted(above, key=held.__getitem__, reverse=True):
            before = [j for j in kinds if kinds[j] == kind and j <= at]
            # The pool may hold nothing but stores that wait to be used again.
            alive = [j for j in before if at <= order.last_use[j]] or before
            if alive:
                return max(alive, key=lambda j: steps[j].bytes)
    return None


def _use(
    steps: Sequence[Step], order: Schedule, kinds: Mapping[int, BufferKind], kind: BufferKind
) -> dict[int, int]:
    """Return how much storage of a kind the pool holds while each buffer is filled."""
    sizes, stores, uses = StoreSizes(), {}, {}
    for i in order.buffered:
        if i in kinds and kinds[i] == kind:
            stores[i] = sizes.take(store_bytes(kind, steps[i].bytes))
        uses[i] = sizes.total
        for j in _done(stores, order, i):
            sizes.give_back(stores.pop(j))
    return uses


def _done(stores: Iterable[int], order: Schedule, i: int) -> list[int]:
    return [j for j in stores if order.last_use[j] <= i and j != i]
