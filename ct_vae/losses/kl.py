"""KL loss of the posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ct_vae.errors import ConfigError

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class KLLoss:
    """Reduction and annealing of the KL divergence.

    Attributes:
        reduction: ``mean`` (the default) averages over latent elements, so that a weight keeps its
            meaning for other patch sizes; ``sum`` adds the elements of a sample (Kingma and Welling
            2014, eq. 10). Both average over samples.
        anneal_samples: Samples over which the weight rises from 0 (Bowman et al. 2016, section
            3.1); defaults to 0, no annealing.

    Raises:
        ConfigError: If the reduction is unknown or the number of samples is negative.
    """

    reduction: Reduction = "mean"
    anneal_samples: int = 0

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ConfigError(f"kl_reduction is mean or sum, got {self.reduction!r}")
        if self.anneal_samples < 0:
            raise ConfigError(f"kl_anneal_samples is 0 or more, got {self.anneal_samples}")

    def __call__(self, kl: torch.Tensor) -> torch.Tensor:
        """Reduce the KL divergence of each latent element, ``(B, C, *spatial)``, to a scalar."""
        rows = kl.flatten(1)
        return (rows.sum(dim=1) if self.reduction == "sum" else rows.mean(dim=1)).mean()

    def annealing_factor(self, samples_seen: int) -> float:
        """Return the factor of the weight at ``samples_seen``, from 0 to 1."""
        return ramp(samples_seen, self.anneal_samples)


def ramp(samples: int, length: int) -> float:
    """Return a linear ramp from 0 to 1 over ``length`` samples; 1 if ``length`` is 0."""
    return min(1.0, samples / length) if length else 1.0
