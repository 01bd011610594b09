"""The weighted sum that training minimizes, with every term on view."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ct_vae.errors import ConfigError
from ct_vae.losses.adversarial import Adversary
from ct_vae.losses.discriminator_regularizers import Reduce, unreduced
from ct_vae.losses.kl import Divergence
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.precision import full_precision, wide
from ct_vae.losses.reconstruction import Loss, Reconstruction
from ct_vae.losses.terms import Terms, add_up

__all__ = ["Objective", "Terms"]


class Objective:
    """Reconstruction loss, losses beside it, regularizers of the latent, and an adversary.

    With ``kl`` it is the negative evidence lower bound per element (Kingma and Welling 2014, eq.
    10), with ``commitment`` the loss of van den Oord et al. 2017, eq. 3, whose codebook follows by
    moving averages, with ``entropy`` that of Yu et al. 2023, eq. 5, with ``adversarial`` that of
    Esser et al. 2021, eq. 6.

    Args:
        reconstruction: Loss of weight 1.
        weights: Of all other terms by name: of ``image_losses``, ``perceptual``, ``adversarial``,
            ``feature_matching`` and regularizers. They multiply means, so that they keep their
            meaning when the patch size changes, except for a ``kl`` that is summed.
        image_losses: Losses by name between image and target in model units.
        perceptual: Distance of slices, named ``perceptual``.
        divergence: Reduction and growth of ``kl``.
        adversary: Comes in when it says so.

    Attributes:
        adversary: As given; the discriminator's phase is the caller's.
    """

    def __init__(
        self,
        reconstruction: Reconstruction,
        weights: Mapping[str, float],
        image_losses: Mapping[str, Loss] | None = None,
        perceptual: PerceptualDistance | None = None,
        divergence: Divergence = Divergence(),  # noqa: B008 - frozen
        adversary: Adversary | None = None,
    ) -> None:
        self.adversary = adversary
        self._reconstruction = reconstruction
        self._weights = {"reconstruction": 1.0, **weights}
        self._image_losses = dict(image_losses or {})
        self._perceptual = perceptual
        self._divergence = divergence

    def image(self, raw: torch.Tensor) -> torch.Tensor:
        """Model units ``(B, C, *spatial)``, float32, of what the decoder gives unactivated."""
        return self._reconstruction.image(wide(raw))

    def __call__(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        regularizers: Mapping[str, torch.Tensor],
        samples_seen: int,
        last_layer: torch.Tensor | None = None,
        reduce: Reduce = unreduced,
    ) -> Terms:
        """Compare with the target and add the regularizers, in float32 also under autocast.

        Args:
            reconstruction: ``(B, C, *spatial)``, what the decoder gives before its activation.
            target: Of that shape, in model units.
            regularizers: Scalars by name; ``kl`` is one number per latent element,
                ``(B, C, *spatial)``.
            samples_seen: Place in the run: it decides on annealing, adversary and slices.
            last_layer: Weights of the decoder's last layer, for an adaptive adversary.
            reduce: Averages a tensor over ranks.

        Raises:
            ConfigError: If a term has no weight, or if the last layer is needed and missing.
        """
        with full_precision(reconstruction):
            raw, wanted = wide(reconstruction), wide(target)
            image = self._reconstruction.image(raw)
            compared = {"reconstruction": self._reconstruction(raw, image, wanted)}
            for name, loss in self._image_losses.items():
                compared[name] = loss(image, wanted)
            if self._perceptual is not None:
                compared["perceptual"] = self._perceptual(image, wanted, samples_seen)
            latent = {
                name: self._divergence(wide(value)) if name == "kl" else wide(value)
                for name, value in regularizers.items()
            }
        values, weights = compared | latent, self._weights_at(samples_seen)
        self._refuse_unweighted(values)
        if self.adversary is not None and self.adversary.active(samples_seen):
            told = self.adversary.generator_terms(image, wanted)
            self._refuse_unweighted(told)
            alone = add_up(compared, weights).total
            balance = self.adversary.balance(alone, told["adversarial"], last_layer, reduce)
            weights["adversarial"] *= balance
            values |= told
        return add_up(values, weights)

    def _weights_at(self, samples_seen: int) -> dict[str, float]:
        shares = {"kl": self._divergence.share(samples_seen)}
        if self.adversary is not None:
            heard = self.adversary.weight(samples_seen)
            shares |= {"adversarial": heard, "feature_matching": heard}
        return {name: weight * shares.get(name, 1.0) for name, weight in self._weights.items()}

    def _refuse_unweighted(self, values: Mapping[str, torch.Tensor]) -> None:
        strange = sorted(values.keys() - self._weights.keys())
        if strange:
            raise ConfigError(f"no weight for the terms {strange}, known: {sorted(self._weights)}")
