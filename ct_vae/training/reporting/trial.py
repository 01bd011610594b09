"""Measurement of time and memory of trial steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

# Smallest and largest number of measured steps, and the time limit in between.
_FEWEST, _MOST, _LONGEST_S = 3, 10, 10.0


@dataclass(frozen=True)
class Trial:
    """Time and memory of training steps.

    Attributes:
        seconds: Median time of a step, without the first one.
        peak_bytes: Peak memory of PyTorch on the GPU; ``None`` on a CPU.
        fastest: Shortest time of a step in seconds.
        slowest: Longest time of a step in seconds.
        steps: Number of measured steps.
    """

    seconds: float
    peak_bytes: int | None
    fastest: float
    slowest: float
    steps: int


def try_steps(step: Callable[[], object], device: torch.device) -> Trial:
    """Run some steps and measure all but the first one, which includes initialization.

    At least three steps are measured, and up to ten within ten seconds.

    Args:
        step: Forward, backward and update; it changes the weights.
        device: Device of the step.
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
