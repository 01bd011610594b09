"""What discriminator and generator make of logits, above 0 where an image looks real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from ct_vae.errors import ConfigError

OfLogits = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Game:
    """Three functions of logits of any shape, each a mean.

    Attributes:
        real: What the discriminator minimizes on real images.
        fake: What it minimizes on reconstructions.
        generator: What the generator minimizes on reconstructions.
    """

    real: OfLogits
    fake: OfLogits
    generator: OfLogits


# Hinge: Lim and Ye 2017. Least squares: Mao et al. 2017, eq. 9 without its halves,
# which the weights hold. Non-saturating: Goodfellow et al. 2014, section 3, on logits.
_GAMES = {
    "hinge": Game(
        real=lambda logits: functional.relu(1 - logits).mean(),
        fake=lambda logits: functional.relu(1 + logits).mean(),
        generator=lambda logits: -logits.mean(),
    ),
    "least_squares": Game(
        real=lambda logits: (logits - 1).square().mean(),
        fake=lambda logits: logits.square().mean(),
        generator=lambda logits: (logits - 1).square().mean(),
    ),
    "non_saturating": Game(
        real=lambda logits: functional.softplus(-logits).mean(),
        fake=lambda logits: functional.softplus(logits).mean(),
        generator=lambda logits: functional.softplus(-logits).mean(),
    ),
}


def game(name: str) -> Game:
    """The game of that name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in _GAMES:
        raise ConfigError(f"adversarial_loss {name!r} is not one of {', '.join(_GAMES)}")
    return _GAMES[name]
