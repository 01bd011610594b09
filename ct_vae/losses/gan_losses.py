"""GAN losses on logits, which are positive for images that look real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from ct_vae.errors import ConfigError

OfLogits = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class GANLoss:
    """Loss functions of discriminator and generator, each a mean over logits of any shape.

    Attributes:
        real: Loss of the discriminator on real images.
        fake: Loss of the discriminator on reconstructions.
        generator: Loss of the generator on reconstructions.
    """

    real: OfLogits
    fake: OfLogits
    generator: OfLogits


# Hinge: Lim and Ye 2017. Least squares: Mao et al. 2017, eq. 9 without the factor 1/2, which is
# part of the weights. Non-saturating: Goodfellow et al. 2014, section 3, on logits.
_LOSSES = {
    "hinge": GANLoss(
        real=lambda logits: functional.relu(1 - logits).mean(),
        fake=lambda logits: functional.relu(1 + logits).mean(),
        generator=lambda logits: -logits.mean(),
    ),
    "least_squares": GANLoss(
        real=lambda logits: (logits - 1).square().mean(),
        fake=lambda logits: logits.square().mean(),
        generator=lambda logits: (logits - 1).square().mean(),
    ),
    "non_saturating": GANLoss(
        real=lambda logits: functional.softplus(-logits).mean(),
        fake=lambda logits: functional.softplus(logits).mean(),
        generator=lambda logits: functional.softplus(-logits).mean(),
    ),
}


def gan_loss(name: str) -> GANLoss:
    """Return the GAN loss with the given name.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in _LOSSES:
        raise ConfigError(f"adversarial_loss {name!r} is not one of {', '.join(_LOSSES)}")
    return _LOSSES[name]
