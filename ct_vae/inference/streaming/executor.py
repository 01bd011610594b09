"""Exact streaming of a volume through a module, slab by slab (see docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.receptive_field import LocalModule, PerVoxel
from ct_vae.inference.streaming.attention_stream import AttentionStream, RingAttentionStream
from ct_vae.inference.streaming.extents import Extent, Partition
from ct_vae.inference.streaming.fan_out_stream import FanOutStream
from ct_vae.inference.streaming.feature_buffer import FeatureBuffer, FeatureBufferPool
from ct_vae.inference.streaming.graph import MapShape, Step
from ct_vae.inference.streaming.group_norm import GroupAffine
from ct_vae.inference.streaming.ranks import Ranks
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import StreamPlan
from ct_vae.inference.streaming.streams import (
    BufferStream,
    InputStream,
    PerSliceStream,
    RepeatedStream,
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
    steps: Sequence[Step],
    volume: torch.Tensor,
    plan: StreamPlan,
    device: torch.device,
    sink: Sink,
    ranks: Ranks | None = None,
) -> None:
    """Apply a module to ``(1, C, X, Y, Z)`` with the same result as on the whole volume.

    Slabs pass from operator to operator, each of which keeps the slices that its next slab needs
    again. Group normalization and attention need their complete input, which is stored in a feature
    buffer; moments are computed while it is written. At most three maps of the same size are stored
    at a time, and those that the plan adds to save memory.

    Several processes can each compute a part of the slices. They exchange the slices at the borders
    of the buffers, and moments, keys and values of their parts.

    Args:
        steps: Traced operators of the module for the shape of this volume.
        volume: Volume on the CPU, or any tensor that slices can be copied from. With several
            processes, the slices that `Partition.stored` lists for this one.
        plan: Plan for these operators.
        device: Device of the module's weights.
        sink: Function that receives the slabs of the result of this process in order.
        ranks: This process and the others; defaults to one process.

    Raises:
        ConfigError: If there are more processes than parts of the volume.
        OutputError: If there is not enough disk space for the planned files.
    """
    with closing(FeatureBufferPool(device, plan.disk_bytes)) as stores:
        _Run(steps, plan, stores, device, ranks or Ranks()).run(volume, sink)


class _Run:
    """Execution of one plan on one volume."""

    def __init__(
        self,
        steps: Sequence[Step],
        plan: StreamPlan,
        stores: FeatureBufferPool,
        device: torch.device,
        ranks: Ranks,
    ) -> None:
        self._steps, self._order, self._plan = steps, schedule(steps, plan.cuts), plan
        self._stores, self._device, self._ranks = stores, device, ranks
        self._partition = Partition(steps, self._order, ranks.size)
        self._stored = [self._partition.stored(rank) for rank in range(ranks.size)]
        self._buffers: dict[int, FeatureBuffer] = {}
        self._fan_out: dict[int, FanOutStream] = {}
        # Slices of the results of the steps between two buffers.
        self._extents: dict[int, Extent] = {}
        self._volume = torch.empty(0)
        self._steps_done = 0

    def run(self, volume: torch.Tensor, sink: Sink) -> None:
        """Fill one feature buffer after the other; pass the final result to the sink."""
        self._volume = volume
        last = len(self._steps) - 1
        for i in self._order.buffered[:-1]:
            buffer = self._take(i)
            self._pump(i, _into(buffer))
            buffer.finish()
            self._buffers[i] = buffer
            if self._ranks.size > 1:
                self._share(i, buffer)
            self._release(i)
        self._pump(last, sink)
        self._release(last)

    def _pump(self, i: int, sink: Sink) -> None:
        self._extents, _ = self._partition.segment(i, self._ranks.rank)
        first, stop = self._extents[i]
        stream, slab = self._compute(i), self._plan.slabs[i]
        for start in range(first, stop, slab):
            sink(start, stream.read(min(slab, stop - start)))
            self._report(i, min(1.0, (start - first + slab) / (stop - first)))
        self._steps_done = i + 1
        self._fan_out.clear()

    def _share(self, i: int, buffer: FeatureBuffer) -> None:
        """Exchange the slices at the borders of a buffer, and the moments of the parts."""
        channels, _, y, z = buffer.shape
        like = torch.empty(1, channels, 0, y, z, dtype=buffer.dtype)
        self._ranks.exchange(i, self._partition, self._stored, buffer, like)
        if buffer.moments is not None:
            buffer.moments = self._ranks.merge(buffer.moments)

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
        step, stored = self._steps[i], self._stored[self._ranks.rank][i]
        first = self._partition.own(i, self._ranks.rank).start - stored.start
        store = self._stores.take(self._plan.kinds[i], step.slice_bytes * stored.length)
        shape = _of_length(step.shape, stored.length)
        moments, staging = i in self._order.moments, self._stores.staging
        return FeatureBuffer(shape, step.dtype, store, moments, first, staging)

    def _release(self, done: int) -> None:
        for i in [i for i in self._buffers if self._order.last_use[i] <= done and i != done]:
            self._stores.give_back(self._plan.kinds[i], self._buffers.pop(i).store)

    def _stream(self, i: int, extent: Extent) -> Stream:
        """Return a stream of slices of the result of a step for one of its consumers."""
        if i == 0 or i in self._buffers:
            origin = self._stored[self._ranks.rank][i].start
            start, stop = extent.start - origin, extent.stop - origin
            if i == 0:
                return InputStream(self._volume, self._device, start, stop)
            return BufferStream(self._buffers[i], self._device, start, stop)
        if len(self._order.users[i]) == 1:
            return self._compute(i)
        if i not in self._fan_out:
            self._fan_out[i] = FanOutStream(self._compute(i), self._plan.fan_out[i])
        origin = self._extents[i].start
        return self._fan_out[i].reader(extent.start - origin, extent.stop - origin)

    def _source(self, j: int, i: int) -> Stream:
        """Return a stream of the slices of source ``i`` that step ``j`` needs."""
        return self._stream(i, self._partition.needed(j, i, self._extents[j]))

    def _compute(self, j: int) -> Stream:
        """Return a stream that computes the result of a step from its sources."""
        step, extent = self._steps[j], self._extents[j]
        module, slab = step.module, min(self._plan.slabs[j], extent.length)
        if isinstance(module, nn.GroupNorm):
            return self._normalized(step.sources[0], module, extent)
        if isinstance(module, SpatialSelfAttention):
            return self._attention(module, step.sources[0], extent, slab)
        assert isinstance(module, LocalModule)
        if len(step.sources) == 1:
            return self._of_one_source(module, j, slab)
        sources = [self._repeated(j, i) for i in step.sources]
        if getattr(module, "function", None) is torch.add:
            first, second = sources
            return SumStream(first, second, slab)
        shape = _of_length(step.shape, extent.length)
        return PerSliceStream(sources, module.unpadded_operator(), shape, slab)

    def _repeated(self, j: int, i: int) -> Stream:
        """Return a stream of a source, which repeats its slices if they are fewer."""
        times = self._steps[j].shape[1] // self._steps[i].shape[1]
        source = self._source(j, i)
        start = self._extents[j].start
        return source if times == 1 else RepeatedStream(source, times, start % times)

    def _of_one_source(self, module: LocalModule, j: int, slab: int) -> Stream:
        step, extent = self._steps[j], self._extents[j]
        (i,) = step.sources
        source, shape = self._source(j, i), _of_length(step.shape, extent.length)
        if isinstance(module, PerVoxel):
            return VoxelStream(source, _IN_PLACE.get(getattr(module, "function", None), module))
        field = module.receptive_field()
        if field.steps(1) == 1 and field.kernel == field.repeats == 1:
            return PerSliceStream([source], module.unpadded_operator(), shape, slab)
        first = field.stride * (extent.start // field.repeats) - field.low
        padding = self._partition.needed(j, i, extent).start - first
        return WindowStream(
            source,
            replace(field, low=padding),
            module.unpadded_operator(),
            shape,
            slab,
            self._fetch(i),
            extent.start % field.repeats,
        )

    def _fetch(self, i: int) -> Fetch | None:
        """Return a function that reads any slices of a step's result, if it is buffered."""
        if i == 0:
            return lambda start, out: out.copy_(self._volume[:, :, start : start + out.shape[2]])
        return self._buffers[i].read_into if i in self._buffers else None

    def _normalized(self, i: int, norm: nn.Module, extent: Extent) -> Stream:
        buffer = self._buffers[i]
        if not isinstance(norm, nn.GroupNorm):
            return VoxelStream(self._stream(i, extent), norm)
        assert buffer.moments is not None
        affine = GroupAffine(buffer.moments, norm, buffer.dtype, buffer.shape[3])
        return VoxelStream(self._stream(i, extent), affine)

    def _attention(self, block: SpatialSelfAttention, i: int, extent: Extent, slab: int) -> Stream:
        keys = self._normalized(i, block.norm, self._partition.own(i, self._ranks.rank))
        queries = self._normalized(i, block.norm, extent)
        if self._ranks.size == 1:
            return AttentionStream(block, keys, queries, self._stream(i, extent), slab)
        return RingAttentionStream(block, keys, queries, self._stream(i, extent), slab, self._ranks)


def _into(buffer: FeatureBuffer) -> Sink:
    return lambda _, slab: buffer.append(slab)


def _of_length(shape: MapShape, length: int) -> MapShape:
    channels, _, y, z = shape
    return channels, length, y, z
