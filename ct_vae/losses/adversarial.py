"""Adversarial losses of the autoencoder and its discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.losses.discriminator_regularizers import (
    LeCamLogitEMA,
    Penalties,
    Reduce,
    identity_reduce,
    r1_penalty,
)
from ct_vae.losses.gan_losses import gan_loss
from ct_vae.losses.kl import ramp
from ct_vae.losses.precision import autocast_disabled, to_float32_or_higher
from ct_vae.losses.terms import LossTerms, Weight, weighted_sum

_BALANCE_EPS = 1e-4


@dataclass(frozen=True)
class AdversarialWarmup:
    """Start and warm-up of the adversarial loss, in samples seen.

    Attributes:
        start: Samples after which the discriminator is trained and the adversarial terms are added
            to the generator's loss.
        ramp: Samples over which the weights of these terms then rise from 0.
        alone: Samples after the start during which they are 0.
    """

    start: int = 0
    ramp: int = 0
    alone: int = 0


class Adversary(nn.Module):
    """Discriminator with its GAN loss and regularizers.

    `state_dict` contains all state that is needed to resume. If an optimization step is skipped,
    the caller must restore the buffers to their values before it.

    Args:
        discriminator: Module that maps images to a `DiscriminatorOutput`.
        loss: GAN loss: ``hinge`` (the default), ``least_squares`` or ``non_saturating``.
        warmup: Start and warm-up of the adversarial terms.
        penalties: Weights of the discriminator's regularizers.
        match_features: If true, add a feature-matching loss to the generator's terms; defaults to
            false.
        adaptive_limit: Upper limit of the adaptive weight; ``None`` (the default) disables adaptive
            weights.
        step_samples: Samples of a step. With it, the steps between two evaluations of R1 follow
            from the samples seen; without it (the default), those that were not skipped are
            counted, which makes the host wait for a GPU.

    Raises:
        ConfigError: If the loss is unknown.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        loss: str = "hinge",
        warmup: AdversarialWarmup = AdversarialWarmup(),
        penalties: Penalties = Penalties(),  # noqa: B008 - frozen
        match_features: bool = False,
        adaptive_limit: float | None = None,
        step_samples: int | None = None,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.averages = LeCamLogitEMA()
        self.adaptive_limit = adaptive_limit
        self._gan_loss = gan_loss(loss)
        self._warmup = warmup
        self._penalties = penalties
        self._match_features = match_features
        self._step_samples = step_samples

    def active(self, samples_seen: int) -> bool:
        """Return true if the adversarial loss is in use at ``samples_seen``."""
        return samples_seen >= self._warmup.start

    def weight(self, samples_seen: int) -> float:
        """Return the warm-up factor of the generator's adversarial terms, from 0 to 1."""
        after = samples_seen - self._warmup.start - self._warmup.alone
        return ramp(after, self._warmup.ramp) if after >= 0 else 0.0

    def generator_terms(
        self, reconstruction: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Compute the adversarial terms of the generator; the discriminator gets no gradient.

        ``adversarial`` is the generator's GAN loss. ``feature_matching`` is the mean absolute
        difference of discriminator features, averaged over levels (Wang et al. 2018, eq. 4, with a
        mean instead of the sum).

        Args:
            reconstruction: Reconstruction ``(B, C, *spatial)`` in model units, after the output
                activation.
            target: Target of the same shape.

        Returns:
            Unweighted scalars by name.
        """
        with _frozen(self.discriminator):
            judged = self.discriminator(reconstruction)
            values = {"adversarial": self._gan_loss.generator(to_float32_or_higher(judged.logits))}
            if self._match_features:
                with torch.no_grad():
                    real = self.discriminator(target).features
                gaps = [
                    (to_float32_or_higher(a) - to_float32_or_higher(b)).abs().mean()
                    for a, b in zip(judged.features, real, strict=True)
                ]
                values["feature_matching"] = torch.stack(gaps).mean()
        return values

    def adaptive_weight(
        self,
        reconstruction: torch.Tensor,
        adversarial: torch.Tensor,
        last_layer: torch.Tensor | None,
        reduce: Reduce,
    ) -> Weight:
        """Compute the ratio of the gradient norms of both losses at the last layer.

        Follows VQGAN (Esser et al. 2021, eq. 7), with 1e-4 added to the denominator and
        `adaptive_limit` as upper limit. Without a limit, the weight is 1.

        Args:
            reconstruction: Weighted sum of all losses between image and target, a scalar.
            adversarial: Adversarial loss, a scalar.
            last_layer: Weights of the generator's last layer.
            reduce: Function that averages a tensor over ranks.

        Raises:
            ConfigError: If an adaptive weight is required and ``last_layer`` is ``None``.
        """
        if self.adaptive_limit is None:
            return 1.0
        if last_layer is None:
            raise ConfigError("an adaptive adversarial weight requires the last layer")
        return self.ratio(reduce(layer_gradients(reconstruction, adversarial, last_layer)))

    def ratio(self, gradients: torch.Tensor) -> Weight:
        """Compute the adaptive weight from `layer_gradients` of a whole batch.

        Returns:
            A number, or a scalar on another device than the CPU, for which nothing waits.
        """
        reconstruction, adversarial = (gradient.norm() for gradient in gradients)
        ratio = reconstruction / (adversarial + _BALANCE_EPS)
        limited = ratio.clamp(max=self.adaptive_limit)
        return float(limited) if limited.device.type == "cpu" else limited

    def _steps(self, samples_seen: int) -> int:
        """Return the number of steps of the discriminator before this one."""
        if self._step_samples is None:
            return int(self.averages.steps.item())
        first = -(-self._warmup.start // self._step_samples)
        return samples_seen // self._step_samples - first

    def discriminator_terms(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        samples_seen: int,
        reduce: Reduce = identity_reduce,
    ) -> LossTerms:
        """Compute the loss of the discriminator; the generator gets no gradient.

        ``d_real`` and ``d_fake`` are the GAN losses of real images and reconstructions, each with
        weight 1/2. ``r1`` is present only in steps in which the gradient penalty is due. ``lecam``
        uses the averages of previous steps. Calls with the same ``samples_seen`` belong to the same
        step.

        Args:
            reconstruction: Reconstruction ``(B, C, *spatial)`` in model units, after the output
                activation.
            target: Target of the same shape.
            samples_seen: Samples seen before this step.
            reduce: Function that averages a tensor over ranks; optional.

        Returns:
            Total loss and its terms.
        """
        self.averages.begin(samples_seen)
        real, fake = (
            to_float32_or_higher(self.discriminator(image.detach()).logits)
            for image in (target, reconstruction)
        )
        with autocast_disabled(real):
            values = {"d_real": self._gan_loss.real(real), "d_fake": self._gan_loss.fake(fake)}
            if self._penalties.lecam > 0:
                values["lecam"] = self.averages.penalty(real, fake)
        if self._penalties.r1 > 0 and self._steps(samples_seen) % self._penalties.r1_every == 0:
            values["r1"] = r1_penalty(self.discriminator, target)
        self.averages.gather(real, fake, reduce)
        return weighted_sum(values, {"d_real": 0.5, "d_fake": 0.5, **self._penalties.weights})


def layer_gradients(
    reconstruction: torch.Tensor, adversarial: torch.Tensor, layer: torch.Tensor
) -> torch.Tensor:
    """Return the gradients of two scalars at the weights of a layer, ``(2, *layer.shape)``."""
    terms = reconstruction, adversarial
    return torch.stack([torch.autograd.grad(term, layer, retain_graph=True)[0] for term in terms])


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Disable gradients of a module's parameters within the context."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
