"""Distributed training: rank, device and communication of the processes of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from ct_vae.errors import ConfigError
from ct_vae.inference.device import pick_device

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class DistributedContext:
    """Ranks that train one model on parts of a batch; a single process needs no communication.

    Attributes:
        rank: Rank of this process.
        size: Number of processes.
        device: Device of this process.
        flag_device: Device of the flags that ranks share in every step: the CPU if it has a
            backend, since the host would wait for a GPU.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    flag_device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main_process(self) -> bool:
        """True for the process that writes files."""
        return self.rank == 0

    @property
    def ranks_on_machine(self) -> int:
        """Number of ranks on this machine according to ``torchrun``."""
        return min(self.size, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Average a tensor over the ranks, without gradient; returns it unchanged for one rank."""
        if self.size == 1:
            return value
        total = value.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / self.size

    def mean_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its average over the ranks, with one message per dtype.

        A wrapper such as DistributedDataParallel cannot be used, since its hooks do not know when
        gradients are complete with adversary, adaptive weight and accumulation.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        for dtype in sorted({g.dtype for g in gradients}, key=str):
            same = [g for g in gradients if g.dtype == dtype]
            flat = self.mean(torch.cat([g.reshape(-1) for g in same]))
            for gradient, part in zip(
                same, torch.split(flat, [g.numel() for g in same]), strict=True
            ):
                gradient.copy_(part.view(gradient.shape))

    def any(self, flag: bool) -> bool:
        """Return True if the flag is set on any rank."""
        if self.size == 1:
            return flag
        shared = torch.tensor(float(flag), device=self.flag_device)
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
        return bool(shared.item())

    def gather(self, items: Sequence[T]) -> list[T]:
        """Return the items of all ranks, in the order of the ranks."""
        if self.size == 1:
            return list(items)
        parts: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def barrier(self) -> None:
        """Wait until every rank has reached this call."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def distributed_context(device: str | None) -> Iterator[DistributedContext]:
    """Join the ranks started by ``torchrun``, or return a context of a single process.

    An existing process group is used and kept.

    Args:
        device: Device, as for `pick_device`; with ``None``, each rank uses its own GPU if there are
            GPUs.

    Raises:
        ConfigError: If a device does not exist, or if all ranks would use one GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    existing = distributed.is_available() and distributed.is_initialized()
    if size == 1 and not existing:
        yield DistributedContext(device=pick_device(device))
        return
    where = _own_device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if not existing:
        backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
        try:
            # Ranks wait while the main process validates its last case and writes.
            distributed.init_process_group(backend, timeout=_PATIENCE)
        except ValueError as error:
            raise ConfigError(
                f"WORLD_SIZE is {size}, but the ranks cannot find each other: {error}",
                "start them with torchrun, or unset WORLD_SIZE",
            ) from error
    try:
        on_host = "cpu:" in distributed.get_backend_config()
        flags = torch.device("cpu") if on_host else where
        yield DistributedContext(distributed.get_rank(), distributed.get_world_size(), where, flags)
    finally:
        if not existing:
            distributed.destroy_process_group()


def _own_device(device: str | None) -> torch.device:
    if device is not None and torch.device(device).type == "cuda":
        raise ConfigError(
            f"--device {device} would send every rank to one place",
            "leave it out: each rank takes the GPU of its number on its machine",
        )
    if device is None and torch.cuda.is_available():
        return pick_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    return pick_device(device)
