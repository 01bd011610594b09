"""Means of what the micro-batches of a step tell."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ct_vae.training.distributed import World

Scalars = Mapping[str, torch.Tensor] | Mapping[str, float]


class Tally:
    """Gathers named scalars of micro-batches; they leave the device once, all together.

    Args:
        samples: Samples of this rank's batch.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._sums: dict[tuple[str, str], torch.Tensor] = {}

    def add(self, count: int, **groups: Scalars) -> None:
        """Add the scalars of a micro-batch of ``count`` samples, by group and name."""
        for group, scalars in groups.items():
            for name, value in scalars.items():
                number = torch.as_tensor(value, dtype=torch.float32).detach()
                share = number * (count / self.samples)
                before = self._sums.get((group, name))
                self._sums[group, name] = share if before is None else before + share

    def means(self, world: World) -> dict[str, dict[str, float]]:
        """Means over the samples of all ranks, by group and name."""
        sums = torch.stack([value.to(world.device) for value in self._sums.values()])
        told: dict[str, dict[str, float]] = {}
        for (group, name), number in zip(self._sums, world.mean(sums).tolist(), strict=True):
            told.setdefault(group, {})[name] = number
        return told
