"""Execution plan of one volume through the encoder or decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from ct_vae.errors import InputError
from ct_vae.inference.blending import Blending, Operator
from ct_vae.inference.device import HOST, memory_budget
from ct_vae.inference.precision import Precision
from ct_vae.inference.streaming.cuts import residual_sums
from ct_vae.inference.streaming.executor import Sink, run_exact
from ct_vae.inference.streaming.graph import Step, trace_operators
from ct_vae.inference.streaming.slab_plan import (
    LARGEST_SLAB,
    StreamPlan,
    plan_streams,
    smaller,
)
from ct_vae.inference.tiling import Tiling, check_whole, plan_tiles
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.latent import TilingRecord
from ct_vae.progress import reporting_to

Half = Literal["encode", "decode"]
PlanRunner = Callable[["ExecutionPlan", torch.Tensor, Sink], None]
_UNLIMITED = 2**62
# Memory of libraries that load at the first run; a limit of the process includes it.
_LIBRARIES = 32 * 2**20


@dataclass
class ExecutionPlan:
    """Plan for running one half of a network on a volume; calling it executes the plan.

    Attributes:
        network: Network to run.
        half: ``encode`` or ``decode``.
        record: Tiling as stored in latents.
        steps: Traced operators of the half, if the volume is streamed.
        stream_plan: Thickness of slabs and locations of buffers, if the volume is streamed.
        available_bytes: Host memory for buffers in bytes, if the network runs on another device.
        blending: Tiles and where they are added, if they are blended.
        of_tile: Plan that streams one tile, if tiles are blended on a CPU.
        precision: Number format that the caller computes in.
        runner: Runs a streamed plan in another way, such as on several processes; optional.
        warnings: Deviations from the plan during execution.
    """

    network: VolumeAdapter
    half: Half
    record: TilingRecord
    steps: Sequence[Step] = ()
    stream_plan: StreamPlan | None = None
    available_bytes: int = 0
    blending: Blending | None = None
    of_tile: ExecutionPlan | None = None
    precision: Precision = "fp32"
    runner: PlanRunner | None = None
    warnings: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Describe the plan in one line."""
        record = self.record
        if self.stream_plan is None:
            if self.blending is None or record.tile is None:
                return f"{self.half}: {record.method}"
            at_once = f", {self.blending.batch} at once" if self.blending.batch > 1 else ""
            return f"{self.half}: blend, tiles of {_times(record.tile)} voxels{at_once}"
        kinds = list(self.stream_plan.kinds.values())
        buffers = ", ".join(f"{kinds.count(k)} on {k}" for k in dict.fromkeys(kinds)) or "none"
        return (
            f"{self.half}: exact, slabs of at least {record.slab} slices, buffers: {buffers}, "
            f"{self.stream_plan.disk_bytes / 2**30:.2f} GiB of them in files, "
            f"about {self.stream_plan.bytes / 2**30:.2f} GiB of memory besides input and output"
        )

    def __call__(self, volume: torch.Tensor) -> torch.Tensor:
        """Compute features of an image ``(1, 1, X, Y, Z)`` or the image of a latent, on the CPU."""
        results: list[torch.Tensor] = []
        if self.stream_plan is None and self.blending is None:
            self.run(volume, lambda _, slab: results.append(slab))
            return results[0]
        if self.blending is not None:
            return self._blended(volume)
        result = torch.empty(1, *self._result_shape(), dtype=self.steps[-1].dtype)

        def sink(start: int, slab: torch.Tensor) -> None:
            result[:, :, start : start + slab.shape[2]].copy_(slab)

        self.run(volume, sink)
        return result

    def _blended(self, volume: torch.Tensor) -> torch.Tensor:
        f, encodes = self.network.factor[0], self.half == "encode"
        length = volume.shape[2] // f if encodes else volume.shape[2] * f
        results: list[torch.Tensor] = []

        def sink(start: int, slab: torch.Tensor) -> None:
            if not results:
                _, channels, _, y, z = slab.shape
                results.append(torch.empty(1, channels, length, y, z, dtype=slab.dtype))
            results[0][:, :, start : start + slab.shape[2]] = slab

        self.run(volume, sink)
        return results[0]

    def run(self, volume: torch.Tensor, sink: Sink) -> None:
        """Compute the result and pass it on slab by slab, or at once if the volume is not divided.

        Args:
            volume: Image ``(1, 1, X, Y, Z)`` or latent ``(1, C, x, y, z)`` on the CPU.
            sink: Function that receives the slabs of the result in order. After an attempt that
                exceeded the device's memory, they start from the beginning again.
        """
        self._note_autocast()
        if self.stream_plan is not None:
            self._stream(volume, sink)
            return
        operator = self.network.features if self.half == "encode" else self.network.decode
        if self.blending is not None:
            self._blend(self.blending, self._one_by_one or operator, volume, sink)
            return
        sink(0, operator(volume.to(self.network.device)).cpu())

    def _note_autocast(self) -> None:
        """Warn that autocast lowers the precision, which changes values by percents."""
        device = self.network.device.type
        if torch.is_autocast_enabled(device) and self.precision != "bf16":
            dtype = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
            self.warnings.append(
                f"{self.half}: computed under autocast in {dtype}; results differ from float32"
            )

    def _result_shape(self) -> tuple[int, ...]:
        """Return the shape of the result: features, or an image of one channel."""
        width, *sides = self.steps[-1].shape
        return (width if self.half == "encode" else 1, *sides)

    def _stream(self, volume: torch.Tensor, sink: Sink) -> None:
        encodes = self.half == "encode"
        channels = self.network.model.in_channels if encodes else -1
        image = volume.expand(-1, channels, -1, -1, -1)

        def pass_on(start: int, slab: torch.Tensor) -> None:
            sink(start, slab if encodes or slab.shape[1] == 1 else slab.mean(1, keepdim=True))

        if self.runner is not None:
            self.runner(self, image, pass_on)
            return
        while True:
            assert self.stream_plan is not None
            try:
                run_exact(self.steps, image, self.stream_plan, self.network.device, pass_on)
                return
            except torch.OutOfMemoryError:
                less = smaller(self.stream_plan, self.steps, self.available_bytes)
                if less is None:
                    raise
            self._replace(less)

    def _replace(self, plan: StreamPlan) -> None:
        """Take a plan that needs less memory than the one that failed, and note it."""
        assert self.stream_plan is not None
        changed = (
            "buffers left it"
            if plan.slabs == self.stream_plan.slabs
            else "their thickness was halved"
        )
        self.stream_plan = plan
        self.warnings.append(
            f"{self.half}: the planned slabs did not fit into the device's memory; {changed}"
        )

    @property
    def _one_by_one(self) -> Operator | None:
        """Function that streams each tile of a batch, if tiles are streamed."""
        plan = self.of_tile
        if plan is None:
            return None

        def streamed(tiles: torch.Tensor) -> torch.Tensor:
            # Progress counts tiles.
            with reporting_to(None):
                results = [plan(tile[None]) for tile in tiles]
            return results[0] if len(results) == 1 else torch.cat(results)

        return streamed

    def _blend(
        self, blending: Blending, operator: Operator, volume: torch.Tensor, sink: Sink
    ) -> None:
        while True:
            try:
                blending.run(operator, volume, sink)
                return
            except torch.OutOfMemoryError:
                smaller = blending.smaller()
                if smaller is None:
                    raise
            blending = smaller
            self.warnings.append(
                f"{self.half}: the planned tiles did not fit into the device's memory; fewer were "
                "computed at once"
            )


def plan_execution(
    network: VolumeAdapter,
    half: Half,
    tiling: Tiling,
    sides: tuple[int, int, int],
    reserved_bytes: int = 0,
    result_bytes: int | None = None,
    processes: int = 1,
) -> ExecutionPlan:
    """Plan how one half of a network runs on a volume.

    Args:
        network: Network to run.
        half: ``encode`` or ``decode``.
        tiling: Requested tiling.
        sides: Shape of the padded volume, multiples of the factor.
        reserved_bytes: Host memory in bytes that other work may allocate meanwhile; defaults to 0.
        result_bytes: Host memory in bytes that the result takes; defaults to that of the result as
            one tensor.
        processes: Number of processes that stream a part of the volume each; defaults to 1.

    Raises:
        ConfigError: If one tile, or slabs of one slice, do not fit into memory.
        InputError: If the shape is not a multiple of the factor or too small for the network.
    """
    # A strided layer by itself would silently drop the remainder.
    if any(side % f for side, f in zip(sides, network.factor, strict=True)):
        raise InputError(
            f"sides {sides} are not multiples of the factor {network.factor}", "pad the image"
        )
    on_cpu = network.device.type == "cpu"
    budget = memory_budget(network.device, tiling.max_memory_gb) - (reserved_bytes if on_cpu else 0)
    if tiling.method == "blend":
        record, blending = plan_tiles(network, half == "encode", tiling, sides, budget)
        of_tile = _plan_tile(network, half, record) if on_cpu and network.streams else None
        return ExecutionPlan(network, half, record, blending=blending, of_tile=of_tile)
    if tiling.method == "whole" or not network.streams:
        # Without an explicit limit, the attempt itself shows whether memory suffices.
        if tiling.max_memory_gb is not None:
            check_whole(network, sides, budget)
        return ExecutionPlan(network, half, TilingRecord(method=tiling.method))
    steps = trace_half(network, half, sides)
    results = steps[-1].bytes if result_bytes is None else result_bytes
    available_bytes = 0 if on_cpu else max(0, memory_budget(HOST, None) - reserved_bytes - results)
    if on_cpu and tiling.max_memory_gb is not None:
        budget -= _LIBRARIES
    part, fixed = steps, frozenset[int]()
    if processes > 1:
        blocks = sides[0] // network.factor[0]
        length = network.factor[0] * -(-blocks // processes)
        part, fixed = trace_half(network, half, (length, *sides[1:])), residual_sums(steps)
    plan = plan_streams(
        part,
        budget - results if on_cpu else budget,
        available_bytes,
        LARGEST_SLAB.get(network.device.type, LARGEST_SLAB["cpu"]),
        fixed,
    )
    record = TilingRecord(
        method="exact",
        slab=plan.thinnest,
        spools=tuple(dict.fromkeys(plan.kinds.values())),
        estimate_mb=round((plan.bytes + results * on_cpu) / 2**20, 1),
    )
    return ExecutionPlan(network, half, record, steps, plan, available_bytes)


def _plan_tile(network: VolumeAdapter, half: Half, record: TilingRecord) -> ExecutionPlan:
    """Plan one tile in slabs, which take half the time on a CPU and less memory than the whole."""
    assert record.tile is not None
    steps = trace_half(network, half, record.tile)
    # The tile as a whole would fit.
    return ExecutionPlan(network, half, record, steps, plan_streams(steps, _UNLIMITED))


def trace_half(network: VolumeAdapter, half: Half, sides: tuple[int, int, int]) -> list[Step]:
    """Trace the operators of the encoder or decoder for a volume with these sides."""
    model = network.model
    dtype = next(model.parameters()).dtype
    if half == "encode":
        return trace_operators(network.encoding, (model.in_channels, *sides), dtype)
    x, y, z = (n // f for n, f in zip(sides, network.factor, strict=True))
    return trace_operators(network.decoding, (model.latent_channels, x, y, z), dtype)


def _times(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
