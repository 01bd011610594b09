"""Random numbers of training, each a function of the seed and of a sample's index in the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ct_vae.training.device.philox import normal_numbers

_POSTERIOR = 0


def posterior_noise(mean: torch.Tensor, seed: int, index: int) -> torch.Tensor:
    """Draw standard normal values for the posteriors of consecutive samples.

    Args:
        mean: Means ``(B, C, *spatial)``, whose shape, type and device the noise gets.
        seed: Seed of the run.
        index: Index of the first sample in the run.
    """
    return normal_numbers(mean.shape, seed, index, _POSTERIOR, mean.device).to(mean)


@contextmanager
def seeded_layers(seed: int, index: int, device: torch.device) -> Iterator[None]:
    """Make what layers draw, such as dropout, a function of the seed and a sample's index."""
    drawn = np.random.SeedSequence([seed, index, 1]).generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(drawn[0] >> np.uint64(1)))
        yield


def generator(seed: int, index: int, stream: int = 0) -> torch.Generator:
    """Return a generator on the CPU for one sample.

    Args:
        seed: Seed of the run.
        index: Index of the sample in the run.
        stream: Number of an independent stream.
    """
    # Mersenne Twister seeds that differ in one bit start with similar states, so mix them.
    mixed = (
        seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + stream * 0xA0761D6478BD642F + 1
    ) % 2**63
    return torch.Generator().manual_seed(mixed)
