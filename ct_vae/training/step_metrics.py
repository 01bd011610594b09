"""Metrics of one optimization step over its micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ct_vae.training.distributed import DistributedContext

Scalars = Mapping[str, torch.Tensor] | Mapping[str, float | torch.Tensor]


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


@dataclass(frozen=True, eq=False)
class DeviceMeans:
    """Means of a step that are still on the device.

    Attributes:
        keys: Group and name of all means, in order.
        on_device: Those of the means in ``values``.
        values: Means on the device, ``(N,)``.
        on_host: The other means.
    """

    keys: tuple[tuple[str, str], ...]
    on_device: tuple[tuple[str, str], ...]
    values: torch.Tensor
    on_host: Mapping[tuple[str, str], float]

    def value(self, group: str, name: str) -> torch.Tensor:
        """Return one of the means on the device, a scalar."""
        return self.values[self.on_device.index((group, name))]

    def read(self, numbers: Sequence[float]) -> dict[str, dict[str, float]]:
        """Return all means by group and name, given the numbers of ``values``."""
        known = {**self.on_host, **dict(zip(self.on_device, numbers, strict=True))}
        metrics: dict[str, dict[str, float]] = {}
        for group, name in self.keys:
            metrics.setdefault(group, {})[name] = known[group, name]
        return metrics


@dataclass(frozen=True, eq=False)
class UnreadStep:
    """Step whose numbers are still on the device.

    Attributes:
        means: Means of its metrics.
        grad_norm: Norm of the autoencoder's gradient before clipping.
        finite: True if the step has been applied, a scalar on the device.
    """

    means: DeviceMeans
    grad_norm: torch.Tensor
    finite: torch.Tensor


class MetricAccumulator:
    """Accumulates named scalars of micro-batches, with at most one transfer from the device.

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
        means = self.on_device(world)
        return means.read(means.values.tolist())

    def on_device(self, world: DistributedContext) -> DeviceMeans:
        """Return means over the samples of all ranks that stay on the device.

        Numbers that are known on the host, such as constant weights, are the same on all ranks.
        """
        there = {key: v for key, v in self._sums.items() if v.device.type == world.device.type}
        here = {key: v.item() for key, v in self._sums.items() if key not in there}
        values = world.mean(torch.stack(list(there.values())))
        return DeviceMeans(tuple(self._sums), tuple(there), values, here)
