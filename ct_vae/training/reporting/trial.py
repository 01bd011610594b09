"""Steps on trial, for their time and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

# Steps that are measured: this many, unless they take longer than the time.
_FEWEST, _MOST, _LONGEST_S = 3, 10, 10.0


@dataclass(frozen=True)
class Trial:
    """Time and memory of training steps.

    Attributes:
        seconds: Median time of a step, the first one left out.
        peak_bytes: Most memory that PyTorch held on the GPU; ``None`` on a CPU.
        fastest: Shortest time of a step in seconds.
        slowest: Longest time of a step in seconds.
        steps: Number of steps that were measured.
    """

    seconds: float
    peak_bytes: int | None
    fastest: float
    slowest: float
    steps: int


def try_steps(step: Callable[[], object], device: torch.device) -> Trial:
    """Take some steps and measure all but the first, which also makes plans and caches.

    At least three steps are measured, and up to ten as long as they take less than ten seconds.

    Args:
        step: Forward, backward and update; it changes what it trains.
        device: On which it computes.
    """
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    step()
    _wait(device)
    times: list[float] = []
    while len(times) < _FEWEST or (len(times) < _MOST and sum(times) < _LONGEST_S):
        started = time.perf_counter()
        step()
        _wait(device)
        times.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(device) if cuda else None
    return Trial(statistics.median(times), peak, min(times), max(times), len(times))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
