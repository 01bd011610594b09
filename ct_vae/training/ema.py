"""Exponential moving average of the weights, which is what a run saves and validates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

# The average remembers at most this fraction of the run so far, as in EDM2 (Karras et al. 2024).
_RAMP = 0.05


class AveragedWeights(AveragedModel):
    """A copy of a model whose weights follow it with a half-life that is counted in samples.

    Early in a run the half-life is a twentieth of the samples seen, so that the first weights,
    which are random, are soon forgotten. Batch size changes nothing: two steps of 8 samples weigh
    as much as one of 16.

    Args:
        model: To follow.
        halflife: Samples after which a weight counts half; 0 follows at once.
    """

    def __init__(self, model: nn.Module, halflife: int) -> None:
        self._halflife = halflife
        self._decay = 0.0
        super().__init__(model, multi_avg_fn=self._average, use_buffers=False)

    def follow(self, model: nn.Module, samples_seen: int, batch: int) -> None:
        """Take up the weights after a step.

        Args:
            model: With its new weights.
            samples_seen: Samples of the run, those of the step included.
            batch: Samples of the step, of all ranks.
        """
        halflife = min(float(self._halflife), _RAMP * samples_seen)
        self._decay = 0.5 ** (batch / halflife) if halflife > 0 else 0.0
        self.update_parameters(model)

    @torch.no_grad()
    def _average(
        self, averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], _: object
    ) -> None:
        torch._foreach_lerp_(list(averaged), list(current), 1 - self._decay)
