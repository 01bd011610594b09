"""Training objective: the weighted sum of all loss terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ct_vae.errors import ConfigError
from ct_vae.losses.adversarial import Adversary, layer_gradients
from ct_vae.losses.discriminator_regularizers import Reduce, identity_reduce
from ct_vae.losses.kl import KLLoss
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.precision import autocast_disabled, to_float32_or_higher
from ct_vae.losses.reconstruction import Loss, Reconstruction
from ct_vae.losses.terms import LossTerms, Weight, weighted_sum

__all__ = ["LossTerms", "Objective"]


class Objective:
    """Sum of the reconstruction loss, other image losses, regularizers and adversarial terms.

    With ``kl`` it is the negative evidence lower bound per element (Kingma and Welling 2014, eq.
    10), with ``commitment`` the loss of van den Oord et al. 2017, eq. 3, whose codebook is updated
    by moving averages, with ``entropy`` that of Yu et al. 2023, eq. 5, with ``adversarial`` that of
    Esser et al. 2021, eq. 6.

    Args:
        reconstruction: Reconstruction loss, of weight 1.
        weights: Weights of all other terms by name: ``image_losses``, ``perceptual``,
            ``adversarial``, ``feature_matching`` and regularizers. All terms are means, so weights
            keep their meaning for other patch sizes, except for a ``kl`` with reduction ``sum``.
        image_losses: Losses between image and target in model units, by name; optional.
        perceptual: Perceptual distance, the term ``perceptual``; optional.
        kl_loss: Reduction and annealing of the term ``kl``.
        adversary: Adversarial loss; optional.

    Attributes:
        adversary: As given; the caller trains the discriminator.
    """

    def __init__(
        self,
        reconstruction: Reconstruction,
        weights: Mapping[str, float],
        image_losses: Mapping[str, Loss] | None = None,
        perceptual: PerceptualDistance | None = None,
        kl_loss: KLLoss = KLLoss(),  # noqa: B008 - frozen
        adversary: Adversary | None = None,
    ) -> None:
        self.adversary = adversary
        self._reconstruction = reconstruction
        self._weights = {"reconstruction": 1.0, **weights}
        self._image_losses = dict(image_losses or {})
        self._perceptual = perceptual
        self._kl_loss = kl_loss

    def image(self, raw: torch.Tensor) -> torch.Tensor:
        """Convert the decoder's raw output to an image ``(B, C, *spatial)`` in model units.

        The result is in float32 or higher precision.
        """
        return self._reconstruction.image(to_float32_or_higher(raw))

    def reconstruction_loss(self, raw: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the reconstruction loss alone, a scalar in float32.

        Args:
            raw: Raw decoder output ``(B, C, *spatial)``, before the output activation.
            target: Target of the same shape, in model units.
        """
        with autocast_disabled(raw):
            wide = to_float32_or_higher(raw)
            image = self._reconstruction.image(wide)
            return self._reconstruction(wide, image, to_float32_or_higher(target))

    def __call__(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        regularizers: Mapping[str, torch.Tensor],
        samples_seen: int,
        last_layer: torch.Tensor | None = None,
        reduce: Reduce = identity_reduce,
        adaptive_weight: Weight | None = None,
    ) -> LossTerms:
        """Compute the objective in float32, also under autocast.

        Args:
            reconstruction: Raw decoder output ``(B, C, *spatial)``, before the output activation.
            target: Target of the same shape, in model units.
            regularizers: Scalars by name; ``kl`` is the divergence of each latent element, ``(B, C,
                *spatial)``.
            samples_seen: Samples seen before this step, which determine annealing, warm-up and the
                slices of the perceptual loss.
            last_layer: Weights of the decoder's last layer, for an adaptive adversarial weight;
                optional.
            reduce: Function that averages a tensor over ranks; optional.
            adaptive_weight: Adaptive adversarial weight of the whole batch, if this is a part of
                it; by default it is computed from these images.

        Returns:
            Total loss and its terms.

        Raises:
            ConfigError: If a term has no weight, or if the last layer is required and missing.
        """
        image, expected, image_terms = self._image_terms(reconstruction, target, samples_seen)
        with autocast_disabled(reconstruction):
            latent = {name: to_float32_or_higher(v) for name, v in regularizers.items()}
            if "kl" in latent:
                latent["kl"] = self._kl_loss(latent["kl"])
        values, weights = image_terms | latent, self._weights_at(samples_seen)
        self._check_weighted(values)
        if self.adversary is not None and self.adversary.active(samples_seen):
            adversarial = self.adversary.generator_terms(image, expected)
            self._check_weighted(adversarial)
            if adaptive_weight is None:
                adaptive_weight = self.adversary.adaptive_weight(
                    weighted_sum(image_terms, weights).total,
                    adversarial["adversarial"],
                    last_layer,
                    reduce,
                )
            weights["adversarial"] *= adaptive_weight
            values |= adversarial
        return weighted_sum(values, weights)

    def uses(self, name: str) -> bool:
        """Return true if the term has a weight above 0."""
        return self._weights.get(name, 0.0) > 0

    def is_adaptive(self, samples_seen: int) -> bool:
        """Return true if the adversarial loss has an adaptive weight at ``samples_seen``."""
        adversary = self.adversary
        return (
            adversary is not None
            and adversary.active(samples_seen)
            and adversary.adaptive_limit is not None
        )

    def layer_gradients(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        samples_seen: int,
        last_layer: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the gradients on which an adaptive adversarial weight depends.

        Args:
            reconstruction: Raw decoder output ``(B, C, *spatial)``.
            target: Target of the same shape, in model units.
            samples_seen: Samples seen before this step.
            last_layer: Weights of the decoder's last layer.

        Returns:
            Gradients of the image losses and of the adversarial loss, ``(2, *last_layer.shape)``.
        """
        assert self.adversary is not None
        image, expected, terms = self._image_terms(reconstruction, target, samples_seen)
        total = weighted_sum(terms, self._weights_at(samples_seen)).total
        adversarial = self.adversary.generator_terms(image, expected)["adversarial"]
        return layer_gradients(total, adversarial, last_layer)

    def _image_terms(
        self, reconstruction: torch.Tensor, target: torch.Tensor, samples_seen: int
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return image, target and the losses between them, in float32 also under autocast."""
        with autocast_disabled(reconstruction):
            raw, expected = to_float32_or_higher(reconstruction), to_float32_or_higher(target)
            image = self._reconstruction.image(raw)
            terms = {"reconstruction": self._reconstruction(raw, image, expected)}
            for name, loss in self._image_losses.items():
                terms[name] = loss(image, expected)
            if self._perceptual is not None:
                terms["perceptual"] = self._perceptual(image, expected, samples_seen)
        return image, expected, terms

    def _weights_at(self, samples_seen: int) -> dict[str, Weight]:
        factors = {"kl": self._kl_loss.annealing_factor(samples_seen)}
        if self.adversary is not None:
            weight_factor = self.adversary.weight(samples_seen)
            factors |= {"adversarial": weight_factor, "feature_matching": weight_factor}
        return {name: weight * factors.get(name, 1.0) for name, weight in self._weights.items()}

    def _check_weighted(self, values: Mapping[str, torch.Tensor]) -> None:
        unknown = sorted(values.keys() - self._weights.keys())
        if unknown:
            raise ConfigError(f"no weight for the terms {unknown}, known: {sorted(self._weights)}")
