"""Computation of each volume by several processes, started by ``torchrun``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from ct_vae.errors import ConfigError
from ct_vae.inference.device import environment_number
from ct_vae.inference.execution_plan import ExecutionPlan, Half, trace_half
from ct_vae.inference.precision import Precision, computing_in
from ct_vae.inference.streaming.executor import Sink, run_exact
from ct_vae.inference.streaming.extents import Extent, Partition
from ct_vae.inference.streaming.ranks import Ranks
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import StreamPlan
from ct_vae.inference.volume_adapter import VolumeAdapter


@dataclass(frozen=True)
class _Task:
    """Settings of a volume, which the first process sends to the others."""

    half: Half
    sides: tuple[int, int, int]
    plan: StreamPlan
    precision: Precision


class VolumeSplit(Ranks):
    """Processes that compute the slabs of each volume together.

    The first process reads and writes; the others call `serve` and wait for volumes.

    Attributes:
        idle: True while the other processes wait for a volume.
    """

    idle = True

    def run(self, plan: ExecutionPlan, image: torch.Tensor, sink: Sink) -> None:
        """Compute a volume on all processes; called by the first one.

        Args:
            plan: Plan of the volume.
            image: Input ``(1, C, X, Y, Z)`` on the CPU.
            sink: Function that receives the slabs of the result in order.
        """
        assert plan.stream_plan is not None
        sides = tuple(plan.steps[-1 if plan.half == "decode" else 0].shape[1:])
        partition = Partition(plan.steps, schedule(plan.steps, plan.stream_plan.cuts), self.size)
        task = _Task(plan.half, (sides[0], sides[1], sides[2]), plan.stream_plan, plan.precision)
        self.idle = False
        distributed.broadcast_object_list([task])
        for rank in range(1, self.size):
            distributed.send(_part(image, partition.stored(rank)[0]), rank)
        own = _part(image, partition.stored(0)[0])
        run_exact(plan.steps, own, plan.stream_plan, plan.network.device, sink, self)
        last = len(plan.steps) - 1
        channels, _, y, z = plan.steps[-1].shape
        for rank in range(1, self.size):
            extent = partition.own(last, rank)
            part = torch.empty(1, channels, extent.length, y, z, dtype=plan.steps[-1].dtype)
            distributed.recv(part, rank)
            sink(extent.start, part)
        self.idle = True

    def serve(self, network: VolumeAdapter) -> None:
        """Compute parts of volumes until the first process has no more."""
        while True:
            told: list[_Task | None] = [None]
            distributed.broadcast_object_list(told)
            (task,) = told
            if task is None:
                return
            with torch.inference_mode(), computing_in(task.precision, network.device):
                self._compute(network, task)

    def stop(self) -> None:
        """Tell the other processes that there are no more volumes."""
        distributed.broadcast_object_list([None])

    def _compute(self, network: VolumeAdapter, task: _Task) -> None:
        steps = trace_half(network, task.half, task.sides)
        partition = Partition(steps, schedule(steps, task.plan.cuts), self.size)
        extent = partition.stored(self.rank)[0]
        channels, _, y, z = steps[0].shape
        own = torch.empty(1, channels, extent.length, y, z, dtype=steps[0].dtype)
        distributed.recv(own, 0)
        last = len(steps) - 1
        mine, (width, _, y, z) = partition.own(last, self.rank), steps[-1].shape
        result = torch.empty(1, width, mine.length, y, z, dtype=steps[-1].dtype)

        def sink(start: int, slab: torch.Tensor) -> None:
            first = start - mine.start
            result[:, :, first : first + slab.shape[2]].copy_(slab)

        run_exact(steps, own, task.plan, network.device, sink, self)
        distributed.send(result, 0)


@contextmanager
def joined_processes(environment: Mapping[str, str]) -> Iterator[VolumeSplit]:
    """Join the processes that ``torchrun`` has started, within the context.

    Args:
        environment: Environment with the variables of ``torchrun``.

    Raises:
        ConfigError: If this process was not started by ``torchrun``.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        raise ConfigError(
            "--split volume divides each volume among several processes, and there is only one",
            "start them with: torchrun --nproc-per-node N -m ct_vae ...",
        )
    rank = environment_number(environment, "RANK")
    size = environment_number(environment, "WORLD_SIZE")
    # Messages go through host memory, for CPUs and GPUs alike.
    distributed.init_process_group("gloo", rank=rank, world_size=size)
    split = VolumeSplit(rank, size)
    try:
        yield split
    finally:
        # In the middle of a volume, the others end with an error about the lost connection.
        if rank == 0 and split.idle:
            split.stop()
        distributed.destroy_process_group()


def _part(image: torch.Tensor, extent: Extent) -> torch.Tensor:
    """Return slices of an image, which may go on at its other end, as a contiguous tensor."""
    length = image.shape[2]
    positions = torch.arange(extent.start, extent.stop).remainder(length)
    return image.index_select(2, positions).contiguous()
