"""Measurement of time and memory of trial steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import torch

from ct_vae.config.training import TrainingConfig

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


def trial_positions(training: TrainingConfig) -> Iterator[int]:
    """Return the samples seen before each trial step, from the end of the run on.

    There the discriminator is active. If the run has R1 penalties, the second step has one: it
    needs the most memory, in addition to the moments that optimizers keep from the first step on.
    """
    size = training.batch_size
    step = training.samples // size - 1
    first = -(-training.adversarial_start_samples // size)
    if training.adversarial_weight > 0 and training.r1_weight > 0 and step >= first:
        step -= (step - first) % training.r1_every + 1
    return count(max(0, step) * size, size)


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
