"""A step on trial, for its time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Trial:
    """What one step took.

    Attributes:
        seconds: Of a step that was not the first.
        peak_bytes: Most memory that PyTorch held on the GPU; ``None`` on a CPU.
    """

    seconds: float
    peak_bytes: int | None


def try_step(step: Callable[[], object], device: torch.device) -> Trial:
    """Take a step twice and measure the second, for the first one also makes plans and caches.

    Args:
        step: Forward, backward and update; it changes what it trains.
        device: On which it computes.
    """
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    step()
    _wait(device)
    started = time.perf_counter()
    step()
    _wait(device)
    seconds = time.perf_counter() - started
    return Trial(seconds, torch.cuda.max_memory_allocated(device) if cuda else None)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
