"""Exact streaming of a volume through a module, slab by slab (see docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.receptive_field import LocalModule
from ct_vae.inference.streaming.attention_stream import AttentionStream
from ct_vae.inference.streaming.fan_out_stream import SharedStream
from ct_vae.inference.streaming.feature_buffer import Spool, SpoolStores
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.schedule import Schedule, schedule
from ct_vae.inference.streaming.slab_plan import StreamPlan
from ct_vae.inference.streaming.streams import (
    GivenStream,
    NormalizedStream,
    PerSliceStream,
    SiluStream,
    SpoolStream,
    Stream,
    SumStream,
)
from ct_vae.inference.streaming.window_stream import Fetch, WindowStream

# Takes a place along the first axis and the slices (1, C, n, Y, Z) that begin there.
Sink = Callable[[int, torch.Tensor], None]


def run_exact(
    steps: Sequence[Step], volume: torch.Tensor, plan: StreamPlan, device: torch.device, sink: Sink
) -> None:
    """Apply a module to ``(1, C, X, Y, Z)`` as if it were given the whole at once.

    Slabs flow from operator to operator, each of which keeps the slices that its next slab needs
    again. Group normalization and attention wait for all of their input, which is spooled; moments
    are gathered while it is written. No more than three maps of a size are held at a time.

    Args:
        steps: What the module does, for the sides of this volume.
        volume: On the CPU, or wherever slices of it are to be taken from.
        plan: Made for these steps.
        device: Where the module's weights lie.
        sink: Takes the result from front to back.

    Raises:
        OutputError: If a disk does not hold what was planned for it.
    """
    with closing(SpoolStores(device, plan.disk_bytes)) as stores:
        _Run(steps, schedule(steps), plan, stores, device).run(volume, sink)


class _Run:
    """One passage of one volume."""

    def __init__(
        self,
        steps: Sequence[Step],
        order: Schedule,
        plan: StreamPlan,
        stores: SpoolStores,
        device: torch.device,
    ) -> None:
        self._steps, self._order, self._plan = steps, order, plan
        self._stores, self._device = stores, device
        self._spools: dict[int, Spool] = {}
        self._shared: dict[int, SharedStream] = {}
        self._volume = torch.empty(0)

    def run(self, volume: torch.Tensor, sink: Sink) -> None:
        """Fill one spool after the other; the last result goes to the sink."""
        self._volume = volume
        last = len(self._steps) - 1
        for i in self._order.spooled[:-1]:
            spool = self._take(i)
            self._pump(i, _into(spool))
            self._spools[i] = spool
            self._release(i)
        self._pump(last, sink)
        self._release(last)

    def _pump(self, i: int, sink: Sink) -> None:
        stream, length, slab = (
            self._compute(i),
            self._steps[i].shape[1],
            self._plan.slab(self._steps[i]),
        )
        for start in range(0, length, slab):
            sink(start, stream.read(min(slab, length - start)))
        self._shared.clear()

    def _take(self, i: int) -> Spool:
        step = self._steps[i]
        store = self._stores.take(self._plan.kinds[i], step.bytes)
        return Spool(step.shape, step.dtype, store, moments=i in self._order.moments)

    def _release(self, done: int) -> None:
        for i in [i for i in self._spools if self._order.last_use[i] <= done and i != done]:
            self._stores.give_back(self._plan.kinds[i], self._spools.pop(i).store)

    def _stream(self, i: int) -> Stream:
        """The result of a step for one of its users."""
        if i == 0:
            return GivenStream(self._volume, self._device)
        if i in self._spools:
            return SpoolStream(self._spools[i], self._device)
        if len(self._order.users[i]) == 1:
            return self._compute(i)
        if i not in self._shared:
            self._shared[i] = SharedStream(self._compute(i))
        return self._shared[i].reader()

    def _compute(self, i: int) -> Stream:
        """What a step computes from its sources."""
        step = self._steps[i]
        module, slab = step.module, self._plan.slab(step)
        if isinstance(module, nn.GroupNorm):
            return NormalizedStream(self._spools[step.sources[0]], module, self._device)
        if isinstance(module, SpatialSelfAttention):
            return self._attention(module, step.sources[0], slab)
        assert isinstance(module, LocalModule)
        sources = [self._stream(source) for source in step.sources]
        return _local(module, sources, step, slab, self._fetch(step.sources[0]))

    def _fetch(self, i: int) -> Fetch | None:
        """Read anything of a step's result, where it is held whole."""
        if i == 0:
            return lambda start, out: out.copy_(self._volume[:, :, start : start + out.shape[2]])
        return self._spools[i].read_into if i in self._spools else None

    def _attention(self, block: SpatialSelfAttention, source: int, slab: int) -> Stream:
        spool, norm = self._spools[source], block.norm

        def normalized() -> Stream:
            if isinstance(norm, nn.GroupNorm):
                return NormalizedStream(spool, norm, self._device)
            return PerSliceStream([SpoolStream(spool, self._device)], norm, spool.shape)

        return AttentionStream(block, normalized, SpoolStream(spool, self._device), slab)


def _into(spool: Spool) -> Sink:
    return lambda _, slab: spool.append(slab)


def _local(
    module: LocalModule, sources: Sequence[Stream], step: Step, slab: int, fetch: Fetch | None
) -> Stream:
    function = getattr(module, "function", None)
    if function is functional.silu:
        return SiluStream(sources[0])
    if function is torch.add:
        return SumStream(*sources)
    reach = module.receptive_field()
    if reach.steps(1) == 1 and reach.kernel == reach.repeats == 1:
        return PerSliceStream(sources, module.unpadded_operator(), step.shape)
    return WindowStream(sources[0], reach, module.unpadded_operator(), step.shape, slab, fetch)
