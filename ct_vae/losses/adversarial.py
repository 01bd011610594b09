"""A discriminator and what it says, to the generator and to itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.losses.discriminator_regularizers import (
    Penalties,
    Reduce,
    VerdictAverages,
    squared_slope,
    unreduced,
)
from ct_vae.losses.gan_losses import game
from ct_vae.losses.kl import ramp
from ct_vae.losses.precision import full_precision, wide
from ct_vae.losses.terms import Terms, add_up

_BALANCE_EPS = 1e-4


@dataclass(frozen=True)
class Entrance:
    """When an adversary comes in, in samples seen.

    Attributes:
        start: The discriminator learns, and the generator hears it, from here on.
        ramp: Samples after the start over which the generator's terms rise from 0.
    """

    start: int = 0
    ramp: int = 0


class Adversary(nn.Module):
    """The discriminator, its game and its penalties; `state_dict` holds all that resume needs.

    A step that is not taken must leave the buffers as they were before it.

    Args:
        discriminator: Gives a `Judgement` of images.
        loss: ``hinge``, ``least_squares`` or ``non_saturating``.
        entrance: When it comes in.
        penalties: Costs beside the game.
        match_features: Whether the generator is told to match features of real images.
        adaptive_limit: Largest ratio of gradients in `balance`; ``None`` leaves weights as given.

    Raises:
        ConfigError: If there is no loss of that name.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        loss: str = "hinge",
        entrance: Entrance = Entrance(),
        penalties: Penalties = Penalties(),  # noqa: B008 - frozen
        match_features: bool = False,
        adaptive_limit: float | None = None,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.averages = VerdictAverages()
        self.adaptive_limit = adaptive_limit
        self._game = game(loss)
        self._entrance = entrance
        self._penalties = penalties
        self._match_features = match_features

    def active(self, samples_seen: int) -> bool:
        """Whether it has come in at this place of the run."""
        return samples_seen >= self._entrance.start

    def weight(self, samples_seen: int) -> float:
        """Share of their weights that the generator's terms have here, from 0 to 1."""
        after = samples_seen - self._entrance.start
        return ramp(after, self._entrance.ramp) if after >= 0 else 0.0

    def generator_terms(
        self, reconstruction: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """What the generator minimizes; the discriminator gets no gradient.

        ``adversarial`` is the generator's side of the game; ``feature_matching`` the mean absolute
        difference of features, mean over levels (Wang et al. 2018, eq. 4, without its sum).

        Args:
            reconstruction: ``(B, C, *spatial)`` in model units, after the output activation.
            target: Of that shape.
        """
        with _frozen(self.discriminator):
            judged = self.discriminator(reconstruction)
            values = {"adversarial": self._game.generator(wide(judged.logits))}
            if self._match_features:
                with torch.no_grad():
                    real = self.discriminator(target).features
                gaps = [
                    (wide(a) - wide(b)).abs().mean()
                    for a, b in zip(judged.features, real, strict=True)
                ]
                values["feature_matching"] = torch.stack(gaps).mean()
        return values

    def balance(
        self,
        reconstruction: torch.Tensor,
        adversarial: torch.Tensor,
        last_layer: torch.Tensor | None,
        reduce: Reduce,
    ) -> float:
        """What makes the adversary's gradient at the last layer as long as that of the others.

        Esser et al. 2021 (VQGAN), eq. 7, with 1e-4 beside the denominator, and at most
        `adaptive_limit`; 1 where there is no limit.

        Args:
            reconstruction: All that compares image and target, weighted, a scalar.
            adversarial: The term of the game, a scalar.
            last_layer: Weights of the generator's last layer.
            reduce: Averages a tensor over ranks.

        Raises:
            ConfigError: If the last layer is needed and was not given.
        """
        if self.adaptive_limit is None:
            return 1.0
        if last_layer is None:
            raise ConfigError("the adaptive weight of an adversary needs the last layer")
        norms = [
            reduce(torch.autograd.grad(term, last_layer, retain_graph=True)[0]).norm()
            for term in (reconstruction, adversarial)
        ]
        ratio = norms[0] / (norms[1] + _BALANCE_EPS)
        return float(ratio.clamp(max=self.adaptive_limit))

    def discriminator_terms(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        samples_seen: int,
        reduce: Reduce = unreduced,
    ) -> Terms:
        """What the discriminator minimizes; the generator gets no gradient.

        ``d_real`` and ``d_fake`` are its sides of the game, each with weight 1/2; ``r1`` occurs
        only at steps at which the slope is looked at; ``lecam`` compares with averages of the
        steps before. Calls with equal ``samples_seen`` are parts of one step.

        Args:
            reconstruction: ``(B, C, *spatial)`` in model units, after the output activation.
            target: Of that shape.
            samples_seen: Place in the run.
            reduce: Averages a tensor over ranks.
        """
        self.averages.begin(samples_seen)
        real, fake = (
            wide(self.discriminator(image.detach()).logits) for image in (target, reconstruction)
        )
        with full_precision(real):
            values = {"d_real": self._game.real(real), "d_fake": self._game.fake(fake)}
            if self._penalties.lecam > 0:
                values["lecam"] = self.averages.penalty(real, fake)
        if self._penalties.r1 > 0 and self.averages.steps.item() % self._penalties.r1_every == 0:
            values["r1"] = squared_slope(self.discriminator, target)
        self.averages.gather(real, fake, reduce)
        return add_up(values, {"d_real": 0.5, "d_fake": 0.5, **self._penalties.weights})


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Within it, what is computed leaves no gradient at the module's parameters."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
