"""How the divergence of the posterior enters the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ct_vae.errors import ConfigError

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class Divergence:
    """Reduction of the KL divergence, and the growth of its weight.

    Attributes:
        reduction: ``mean`` per latent element: a weight then keeps its meaning when the patch
            size changes; ``sum`` over the elements of a sample, as in Kingma and Welling 2014,
            eq. 10. Either is a mean over samples.
        anneal_samples: Samples over which the weight rises from 0 (Bowman et al. 2016, section
            3.1).

    Raises:
        ConfigError: If there is no such reduction, or for a negative number of samples.
    """

    reduction: Reduction = "mean"
    anneal_samples: int = 0

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ConfigError(f"kl_reduction is mean or sum, got {self.reduction!r}")
        if self.anneal_samples < 0:
            raise ConfigError(f"kl_anneal_samples is 0 or more, got {self.anneal_samples}")

    def __call__(self, kl: torch.Tensor) -> torch.Tensor:
        """Reduce the divergence of each latent element, ``(B, C, *spatial)``, to a scalar."""
        rows = kl.flatten(1)
        return (rows.sum(dim=1) if self.reduction == "sum" else rows.mean(dim=1)).mean()

    def share(self, samples_seen: int) -> float:
        """Share of the weight that holds at this place of the run, from 0 to 1."""
        return ramp(samples_seen, self.anneal_samples)


def ramp(samples: int, length: int) -> float:
    """From 0 to 1 over ``length`` samples; 1 at once if that is 0."""
    return min(1.0, samples / length) if length else 1.0
