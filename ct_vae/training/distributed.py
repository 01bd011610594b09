"""The processes of one run: which of them this is, and what they tell each other."""

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
class World:
    """Ranks that train one model on shares of one batch; alone, everything here does nothing.

    Attributes:
        rank: Number of this process.
        size: Number of processes.
        device: Where this process computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def ranks_on_machine(self) -> int:
        """Number of ranks that run on this machine, as far as ``torchrun`` tells."""
        return min(self.size, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Average of a tensor over the ranks, without gradient; a new tensor unless alone."""
        if self.size == 1:
            return value
        total = value.detach().clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / self.size

    def mean_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Put the average over the ranks in the place of every gradient.

        One message for each type of number: adversary, adaptive weight and accumulation decide
        when gradients are whole, which the hooks of a wrapper around the model could not know.
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
        """Whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(told, op=distributed.ReduceOp.MAX)
        return bool(told.item())

    def gather(self, items: Sequence[T]) -> list[T]:
        """Items of all ranks, in the order of the ranks."""
        if self.size == 1:
            return list(items)
        parts: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def wait(self) -> None:
        """Go on when every rank has come here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined_world(device: str | None) -> Iterator[World]:
    """The ranks that ``torchrun`` has started, or this process alone.

    A process group that exists already is used and left as it is.

    Args:
        device: As for `pick_device`; ``None`` with GPUs gives each rank of a machine its own.

    Raises:
        ConfigError: If a device does not exist, or if all ranks are sent to one GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    existing = distributed.is_available() and distributed.is_initialized()
    if size == 1 and not existing:
        yield World(device=pick_device(device))
        return
    where = _own_device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if not existing:
        backend = "nccl" if where.type == "cuda" else "gloo"
        try:
            # Ranks wait while the first one validates its last case and writes.
            distributed.init_process_group(backend, timeout=_PATIENCE)
        except ValueError as error:
            raise ConfigError(
                f"WORLD_SIZE is {size}, but the ranks cannot find each other: {error}",
                "start them with torchrun, or unset WORLD_SIZE",
            ) from error
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), where)
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
