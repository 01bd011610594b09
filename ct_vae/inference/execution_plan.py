"""The way of one volume through one half of a network, planned before any work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.inference.device import HOST, memory_budget
from ct_vae.inference.streaming.executor import run_exact
from ct_vae.inference.streaming.graph import Step, steps_of
from ct_vae.inference.streaming.slab_plan import StreamPlan, plan_streams, thinner
from ct_vae.inference.tiling import Tiling, run_tiled
from ct_vae.inference.volume_adapter import SLICES_AT_ONCE, VolumeNetwork
from ct_vae.latent import TilingRecord

Half = Literal["encode", "decode"]
# Float32 maps of the widest full-resolution level that a pass holds at its peak: from 2.6 to 6.0
# were measured on a CPU, over widths of 16 to 128 and both directions; one more for safety.
_LIVE_MAPS = 7


@dataclass
class Passage:
    """How a volume goes through, and the going.

    Attributes:
        network: The network.
        half: Which way.
        record: What latents tell about it.
        steps: Of the half, where the volume is streamed.
        plan: How thick slabs are and where spools lie, where the volume is streamed.
        warnings: What had to be changed on the way.
        host_room: Bytes of host memory for spools, where the device is another.
    """

    network: VolumeNetwork
    half: Half
    record: TilingRecord
    steps: Sequence[Step] = ()
    plan: StreamPlan | None = None
    host_room: int = 0
    warnings: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """One line for people."""
        record = self.record
        if self.plan is None:
            tiles = "" if record.tile is None else f", tiles of {_times(record.tile)} voxels"
            return f"{self.half}: {record.method}{tiles}"
        kinds = list(self.plan.kinds.values())
        spools = ", ".join(f"{kinds.count(k)} on {k}" for k in dict.fromkeys(kinds)) or "none"
        return (
            f"{self.half}: exact, slabs of at least {record.slab} slices, spools: {spools}, "
            f"{self.plan.disk_bytes / 2**30:.2f} GiB of them in files, "
            f"about {self.plan.bytes / 2**30:.2f} GiB of memory beside input and output"
        )

    def __call__(self, volume: torch.Tensor) -> torch.Tensor:
        """Features of an image ``(1, 1, X, Y, Z)``, or the image of a latent, on the CPU."""
        self._note_autocast()
        if self.plan is not None:
            return self._stream(volume)
        operator = self.network.features if self.half == "encode" else self.network.decode
        shrink = (1, 1, 1) if self.half == "encode" else self.network.factor
        return run_tiled(self._on_device(operator), volume, self.record, shrink)

    def _note_autocast(self) -> None:
        """Record that the caller's context lowers the precision, which moves values by percents."""
        device = self.network.device.type
        if torch.is_autocast_enabled(device):
            dtype = str(torch.get_autocast_dtype(device)).removeprefix("torch.")
            self.warnings.append(
                f"{self.half}: computed under autocast in {dtype}; results differ from float32"
            )

    def _stream(self, volume: torch.Tensor) -> torch.Tensor:
        encodes = self.half == "encode"
        channels = self.network.model.in_channels if encodes else -1
        given = volume.expand(-1, channels, -1, -1, -1)
        width, *sides = self.steps[-1].shape
        result = torch.empty(1, width if encodes else 1, *sides, dtype=self.steps[-1].dtype)

        def sink(start: int, slab: torch.Tensor) -> None:
            mean = slab if encodes or width == 1 else slab.mean(1, keepdim=True)
            result[:, :, start : start + slab.shape[2]].copy_(mean)

        while True:
            assert self.plan is not None
            try:
                run_exact(self.steps, given, self.plan, self.network.device, sink)
                return result
            except torch.OutOfMemoryError:
                if self.plan.slab_bytes <= self.steps[-1].slice_bytes:
                    raise
            self._halve()

    def _halve(self) -> None:
        """Plan thinner slabs with no spool on the device, and tell."""
        assert self.plan is not None
        self.plan = thinner(self.plan, self.steps, self.host_room)
        self.warnings.append(
            f"{self.half}: the device's memory did not hold the slabs that were planned; they were "
            "halved"
        )

    def _on_device(
        self, operator: Callable[[torch.Tensor], torch.Tensor]
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda tile: operator(tile.to(self.network.device)).cpu()


def plan_passage(
    network: VolumeNetwork,
    half: Half,
    tiling: Tiling,
    sides: tuple[int, int, int],
    beside: int = 0,
) -> Passage:
    """Settle how a volume goes through one half of a network.

    Args:
        network: The network.
        half: Which way.
        tiling: What is wished for.
        sides: Of the padded volume, multiples of the factor.
        beside: Bytes of host memory that others may take meanwhile.

    Raises:
        ConfigError: If the memory does not hold one tile, or slabs of one slice.
        InputError: If the network refuses such sides.
    """
    # A layer alone would only drop what is left over.
    if any(side % f for side, f in zip(sides, network.factor, strict=True)):
        raise InputError(
            f"sides {sides} are not multiples of the factor {network.factor}", "pad the image"
        )
    on_cpu = network.device.type == "cpu"
    budget = memory_budget(network.device, tiling.max_memory_gb) - (beside if on_cpu else 0)
    per_voxel = 4.0 * _LIVE_MAPS * network.model.full_resolution_width
    if tiling.method == "blend":
        return Passage(network, half, tiling.tiles(sides, network.factor, per_voxel, budget))
    if tiling.method == "whole" or not network.streams:
        # Without a bound that somebody has named, the attempt shows whether the memory does.
        if tiling.max_memory_gb is not None:
            _check_whole(network, sides, per_voxel, budget)
        return Passage(network, half, TilingRecord(method=tiling.method))
    steps = _steps(network, half, sides)
    # Results are whole on the host: of a decoder as it gives them, in HU, and on the source's grid.
    results = steps[-1].bytes * (1 if half == "encode" else 3)
    host_room = 0 if on_cpu else max(0, memory_budget(HOST, None) - beside - results)
    plan = plan_streams(steps, budget - results if on_cpu else budget, host_room)
    record = TilingRecord(
        method="exact",
        slab=plan.thinnest(steps),
        spools=tuple(dict.fromkeys(plan.kinds.values())),
        estimate_mb=round(plan.bytes / 2**20, 1),
    )
    return Passage(network, half, record, steps, plan, host_room)


def _check_whole(
    network: VolumeNetwork, sides: tuple[int, int, int], per_voxel: float, budget: int
) -> None:
    """Refuse what takes more at once than the bound that was named.

    Raises:
        ConfigError: With both numbers.
    """
    x, y, z = sides
    at_once = z if network.streams else min(z, SLICES_AT_ONCE)
    needed = per_voxel * x * y * at_once
    if needed > budget:
        what = "the whole volume" if network.streams else f"{at_once} slices"
        raise ConfigError(
            f"{what} at once needs about {needed / 2**30:.2g} GiB, more than the "
            f"{max(0, budget) / 2**30:.2g} GiB that are left",
            "raise --max-memory-gb" + (", or take --tiling exact" if network.streams else ""),
        )


def _steps(network: VolumeNetwork, half: Half, sides: tuple[int, int, int]) -> list[Step]:
    model = network.model
    dtype = next(model.parameters()).dtype
    if half == "encode":
        return steps_of(network.encoding, (model.in_channels, *sides), dtype)
    x, y, z = (n // f for n, f in zip(sides, network.factor, strict=True))
    return steps_of(network.decoding, (model.latent_channels, x, y, z), dtype)


def _times(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
