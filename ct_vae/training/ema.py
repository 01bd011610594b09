"""Exponential moving average of the weights, which a run saves and validates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

# The average remembers at most this fraction of the run so far, as in EDM2 (Karras et al. 2024).
_RAMP = 0.05


class AveragedWeights(AveragedModel):
    """Copy of a model with an exponential moving average of its weights.

    The half-life is in samples, so it does not depend on the batch size. Early in a run it is a
    twentieth of the samples seen, so that random initial weights lose their influence quickly.

    Args:
        model: The model.
        halflife: Half-life in samples; 0 for a copy without averaging.
    """

    def __init__(self, model: nn.Module, halflife: int) -> None:
        self._halflife = halflife
        self._decay = 0.0
        super().__init__(model, multi_avg_fn=self._average, use_buffers=False)

    def follow(
        self,
        model: nn.Module,
        samples_seen: int,
        batch: int,
        applied: torch.Tensor | None = None,
    ) -> None:
        """Update the average after a step.

        Args:
            model: Model with its new weights.
            samples_seen: Samples seen by the run, including the step.
            batch: Samples of the step on all ranks.
            applied: Condition on the device, without which nothing is changed; optional.
        """
        halflife = min(float(self._halflife), _RAMP * samples_seen)
        self._decay = 0.5 ** (batch / halflife) if halflife > 0 else 0.0
        if applied is None:
            self.update_parameters(model)
        else:
            self._update_if(applied, model)

    @torch.no_grad()
    def _update_if(self, applied: torch.Tensor, model: nn.Module) -> None:
        """Update without waiting for the device, other than `update_parameters`."""
        averaged: list[torch.Tensor] = list(self.module.parameters())
        current: list[torch.Tensor] = list(model.parameters())
        share = torch.where(self.n_averaged == 0, 1.0, 1 - self._decay).to(averaged[0])
        change = list(torch._foreach_sub(current, averaged))
        torch._foreach_mul_(change, share * applied)
        torch._foreach_add_(averaged, change)
        for mine, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self.n_averaged.add_(applied)

    @torch.no_grad()
    def _average(
        self, averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], _: object
    ) -> None:
        torch._foreach_lerp_(list(averaged), list(current), 1 - self._decay)
