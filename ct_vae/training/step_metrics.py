"""Metrics of one optimization step over its micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from ct_vae.training.distributed import DistributedContext

Scalars = Mapping[str, torch.Tensor] | Mapping[str, float]


@dataclass(frozen=True)
class StepMetrics:
    """Means over the whole batch on all ranks.

    Attributes:
        loss: The weighted loss of the autoencoder.
        losses: Its terms by name, unweighted.
        weights: Weight of each term.
        grad_norm: Norm of the autoencoder's gradient before clipping.
        latent_std: Standard deviation of the latent without noise, over all its elements.
        mae: Mean absolute error in model units, whatever the reconstruction loss is.
        mse: Mean squared error in model units.
        codes: Use of the codebook, by name; empty without codes.
        discriminator: Terms of the discriminator's loss by name; empty while it does not train.
    """

    loss: float
    losses: dict[str, float]
    weights: dict[str, float]
    grad_norm: float
    latent_std: float
    mae: float
    mse: float
    codes: dict[str, float] = field(default_factory=dict)
    discriminator: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, means: Mapping[str, dict[str, float]], grad_norm: float) -> StepMetrics:
        """Create metrics from the groups ``loss``, ``losses``, ``weights``, ``image``, etc."""
        return cls(
            loss=means["loss"]["total"],
            losses=means["losses"],
            weights=means["weights"],
            grad_norm=grad_norm,
            latent_std=means["image"]["latent_std"],
            mae=means["image"]["mae"],
            mse=means["image"]["mse"],
            codes=means.get("codes", {}),
            discriminator=means.get("discriminator", {}),
        )


class MetricAccumulator:
    """Accumulates named scalars of micro-batches, with a single transfer from the device.

    Args:
        samples: Number of samples of this rank's batch.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._sums: dict[tuple[str, str], torch.Tensor] = {}

    def add(self, count: int, **groups: Scalars) -> None:
        """Add the scalars of a micro-batch of ``count`` samples, by group and name."""
        for group, scalars in groups.items():
            for name, value in scalars.items():
                number = torch.as_tensor(value, dtype=torch.float32).detach()
                fraction = number * (count / self.samples)
                before = self._sums.get((group, name))
                self._sums[group, name] = fraction if before is None else before + fraction

    def means(self, world: DistributedContext) -> dict[str, dict[str, float]]:
        """Return means over the samples of all ranks, by group and name."""
        sums = torch.stack([value.to(world.device) for value in self._sums.values()])
        metrics: dict[str, dict[str, float]] = {}
        for (group, name), number in zip(self._sums, world.mean(sums).tolist(), strict=True):
            metrics.setdefault(group, {})[name] = number
        return metrics
