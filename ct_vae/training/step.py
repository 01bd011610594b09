"""One optimisation step."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ct_vae.errors import CtVaeError
from ct_vae.losses.objective import Objective, Terms
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.training.bottleneck import bottleneck

_MOST_SKIPPED_IN_A_ROW = 10


@dataclass(frozen=True)
class StepValues:
    """What a step reports: terms of the objective, gradient norm, spread of the latent.

    ``mae`` is the mean absolute error in model units, whatever the reconstruction loss is;
    ``regularisers`` are unweighted; ``codes`` tells how a codebook was used.
    """

    loss: float
    reconstruction: float
    grad_norm: float
    latent_std: float
    mae: float
    regularisers: dict[str, float] = field(default_factory=dict)
    codes: dict[str, float] = field(default_factory=dict)


class TrainStep:
    """Forward, backward and update, with steps that are not finite left out.

    Args:
        model: In training mode, on its device.
        optimiser: Over the model's parameters.
        objective: What is minimised.
        grad_clip: Largest norm of the gradient, or ``None``.
        seed: Of the posterior noise, which also depends on the place in the run alone.
    """

    def __init__(
        self,
        model: Autoencoder,
        optimiser: torch.optim.Optimizer,
        objective: Objective,
        grad_clip: float | None,
        seed: int,
    ) -> None:
        self._model = model
        self._optimiser = optimiser
        self._objective = objective
        self._grad_clip = float("inf") if grad_clip is None else grad_clip
        self._seed = seed
        self._skipped_in_a_row = 0
        self.skipped = 0

    def __call__(self, batch: torch.Tensor, samples_seen: int, lr: float) -> StepValues | None:
        """Learn from one batch.

        Args:
            batch: ``(B, C, *spatial)`` in model units.
            samples_seen: Samples before this batch.
            lr: Learning rate of this step.

        Returns:
            What happened, or ``None`` when the step was not finite and changed nothing.

        Raises:
            CtVaeError: If too many steps in a row were not finite.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = lr
        through = bottleneck(self._model, batch, lambda mean: self._noise(mean, samples_seen))
        reconstruction = self._model.decode(through.latent)
        terms = self._objective(reconstruction, batch, through.regularisers)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(terms.total)
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._grad_clip)
        if not (torch.isfinite(terms.total) and torch.isfinite(norm)):
            self._skip(terms, samples_seen)
            return None
        self._optimiser.step()
        self._skipped_in_a_row = 0
        return StepValues(
            loss=terms.total.item(),
            reconstruction=terms.reconstruction.item(),
            grad_norm=norm.item(),
            latent_std=through.centre.detach().std().item(),
            mae=(reconstruction.detach() - batch).abs().mean().item(),
            regularisers={name: value.item() for name, value in terms.regularisers.items()},
            codes={name: value.item() for name, value in through.codes.items()},
        )

    def _noise(self, mean: torch.Tensor, samples_seen: int) -> torch.Tensor:
        rows = [
            torch.randn(mean.shape[1:], generator=_generator(self._seed, samples_seen + i))
            for i in range(len(mean))
        ]
        return torch.stack(rows).to(mean)

    def _skip(self, terms: Terms, samples_seen: int) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= _MOST_SKIPPED_IN_A_ROW:
            raise CtVaeError(
                f"{self._skipped_in_a_row} steps in a row were not finite, the last at "
                f"{samples_seen} samples with a loss of {terms.total.item()}",
                "lower training.lr; the run folder holds the last model saved",
            )


def _generator(seed: int, index: int) -> torch.Generator:
    # Mersenne Twister seeds that differ in one bit start with alike states; spread them.
    mixed = (seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) % 2**63
    return torch.Generator().manual_seed(mixed)
