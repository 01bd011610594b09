"""Exact streaming of a volume through a module, slab by slab (see docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.receptive_field import LocalModule, PerVoxel
from ct_vae.inference.streaming.attention_stream import AttentionStream
from ct_vae.inference.streaming.fan_out_stream import FanOutStream
from ct_vae.inference.streaming.feature_buffer import FeatureBuffer, FeatureBufferPool
from ct_vae.inference.streaming.graph import Step
from ct_vae.inference.streaming.group_norm import GroupAffine
from ct_vae.inference.streaming.schedule import Schedule, schedule
from ct_vae.inference.streaming.slab_plan import StreamPlan
from ct_vae.inference.streaming.streams import (
    BufferStream,
    InputStream,
    PerSliceStream,
    Stream,
    SumStream,
    VoxelFunction,
    VoxelStream,
)
from ct_vae.inference.streaming.window_stream import Fetch, WindowStream
from ct_vae.progress import report_fraction

# Receives a position along the first axis and the slices (1, C, n, Y, Z) that begin there.
Sink = Callable[[int, torch.Tensor], None]
_IN_PLACE: dict[object, VoxelFunction] = {
    functional.silu: lambda x: functional.silu(x, inplace=True),
    torch.tanh: torch.tanh_,
    torch.sigmoid: torch.sigmoid_,
}


def run_exact(
    steps: Sequence[Step], volume: torch.Tensor, plan: StreamPlan, device: torch.device, sink: Sink
) -> None:
    """Apply a module to ``(1, C, X, Y, Z)`` with the same result as on the whole volume.

    Slabs pass from operator to operator, each of which keeps the slices that its next slab needs
    again. Group normalization and attention need their complete input, which is stored in a feature
    buffer; moments are computed while it is written. At most three maps of the same size are stored
    at a time.

    Args:
        steps: Traced operators of the module for the shape of this volume.
        volume: Volume on the CPU, or any tensor that slices can be copied from.
        plan: Plan for these operators.
        device: Device of the module's weights.
        sink: Function that receives the slabs of the result in order.

    Raises:
        OutputError: If there is not enough disk space for the planned files.
    """
    with closing(FeatureBufferPool(device, plan.disk_bytes)) as stores:
        _Run(steps, schedule(steps, plan.cuts), plan, stores, device).run(volume, sink)


class _Run:
    """Execution of one plan on one volume."""

    def __init__(
        self,
        steps: Sequence[Step],
        order: Schedule,
        plan: StreamPlan,
        stores: FeatureBufferPool,
        device: torch.device,
    ) -> None:
        self._steps, self._order, self._plan = steps, order, plan
        self._stores, self._device = stores, device
        self._buffers: dict[int, FeatureBuffer] = {}
        self._fan_out: dict[int, FanOutStream] = {}
        self._volume = torch.empty(0)
        self._steps_done = 0

    def run(self, volume: torch.Tensor, sink: Sink) -> None:
        """Fill one feature buffer after the other; pass the final result to the sink."""
        self._volume = volume
        last = len(self._steps) - 1
        for i in self._order.buffered[:-1]:
            buffer = self._take(i)
            self._pump(i, _into(buffer))
            self._buffers[i] = buffer
            self._release(i)
        self._pump(last, sink)
        self._release(last)

    def _pump(self, i: int, sink: Sink) -> None:
        stream, length, slab = self._compute(i), self._steps[i].shape[1], self._plan.slabs[i]
        for start in range(0, length, slab):
            sink(start, stream.read(min(slab, length - start)))
            self._report(i, min(1.0, (start + slab) / length))
        self._steps_done = i + 1
        self._fan_out.clear()

    def _report(self, i: int, fraction: float) -> None:
        """Report progress, with the size of its result as the cost of a step.

        Args:
            i: Step whose result is being computed, with all steps since the last buffer.
            fraction: Fraction of this result that is complete.
        """
        before, now, total = (
            sum(step.bytes for step in steps)
            for steps in (
                self._steps[: self._steps_done],
                self._steps[self._steps_done : i + 1],
                self._steps,
            )
        )
        report_fraction((before + now * fraction) / total)

    def _take(self, i: int) -> FeatureBuffer:
        step = self._steps[i]
        store = self._stores.take(self._plan.kinds[i], step.bytes)
        return FeatureBuffer(step.shape, step.dtype, store, moments=i in self._order.moments)

    def _release(self, done: int) -> None:
        for i in [i for i in self._buffers if self._order.last_use[i] <= done and i != done]:
            self._stores.give_back(self._plan.kinds[i], self._buffers.pop(i).store)

    def _stream(self, i: int) -> Stream:
        """Return a stream of the result of a step for one of its consumers."""
        if i == 0:
            return InputStream(self._volume, self._device)
        if i in self._buffers:
            return BufferStream(self._buffers[i], self._device)
        if len(self._order.users[i]) == 1:
            return self._compute(i)
        if i not in self._fan_out:
            self._fan_out[i] = FanOutStream(self._compute(i), self._plan.fan_out[i])
        return self._fan_out[i].reader()

    def _compute(self, i: int) -> Stream:
        """Return a stream that computes the result of a step from its sources."""
        step = self._steps[i]
        module, slab = step.module, self._plan.slabs[i]
        if isinstance(module, nn.GroupNorm):
            return self._normalized(self._buffers[step.sources[0]], module)
        if isinstance(module, SpatialSelfAttention):
            return self._attention(module, step.sources[0], slab)
        assert isinstance(module, LocalModule)
        sources = [self._stream(source) for source in step.sources]
        return _local(module, sources, step, slab, self._fetch(step.sources[0]))

    def _fetch(self, i: int) -> Fetch | None:
        """Return a function that reads any slices of a step's result, if it is buffered."""
        if i == 0:
            return lambda start, out: out.copy_(self._volume[:, :, start : start + out.shape[2]])
        return self._buffers[i].read_into if i in self._buffers else None

    def _normalized(self, buffer: FeatureBuffer, norm: nn.GroupNorm) -> Stream:
        assert buffer.moments is not None
        affine = GroupAffine(buffer.moments, norm, buffer.dtype, buffer.shape[3])
        return VoxelStream(BufferStream(buffer, self._device), affine)

    def _attention(self, block: SpatialSelfAttention, source: int, slab: int) -> Stream:
        buffer, norm = self._buffers[source], block.norm

        def normalized() -> Stream:
            if isinstance(norm, nn.GroupNorm):
                return self._normalized(buffer, norm)
            return VoxelStream(BufferStream(buffer, self._device), norm)

        return AttentionStream(block, normalized, BufferStream(buffer, self._device), slab)


def _into(buffer: FeatureBuffer) -> Sink:
    return lambda _, slab: buffer.append(slab)


def _local(
    module: LocalModule, sources: Sequence[Stream], step: Step, slab: int, fetch: Fetch | None
) -> Stream:
    function = getattr(module, "function", None)
    if function is torch.add:
        first, second = sources
        return SumStream(first, second, slab)
    if isinstance(module, PerVoxel):
        return VoxelStream(sources[0], _IN_PLACE.get(function, module))
    field = module.receptive_field()
    if field.steps(1) == 1 and field.kernel == field.repeats == 1:
        return PerSliceStream(sources, module.unpadded_operator(), step.shape, slab)
    return WindowStream(sources[0], field, module.unpadded_operator(), step.shape, slab, fetch)
