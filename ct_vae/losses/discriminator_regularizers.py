"""Regularizers of the discriminator: R1 gradient penalty and LeCam regularization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ct_vae.errors import ConfigError
from ct_vae.losses.precision import autocast_disabled, to_float32_or_higher

Reduce = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Penalties:
    """Weights of the discriminator's regularizers; a regularizer of weight 0 is not computed.

    Attributes:
        r1: Weight of the R1 gradient penalty; defaults to 0.
        r1_every: Steps between two evaluations of the gradient penalty; defaults to 16.
        lecam: Weight of the LeCam regularization; defaults to 0.

    Raises:
        ConfigError: If a weight is negative or ``r1_every`` is below 1.
    """

    r1: float = 0.0
    r1_every: int = 16
    lecam: float = 0.0

    def __post_init__(self) -> None:
        if min(self.r1, self.lecam) < 0 or self.r1_every < 1:
            raise ConfigError(
                f"weights of penalties are at least 0 and r1_every is at least 1, got {self}"
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the terms ``r1`` and ``lecam``.

        The weight of ``r1`` is half of the configured one (Mescheder et al. 2018, eq. 9), times the
        number of steps between two evaluations (lazy regularization, Karras et al. 2020, appendix
        B).
        """
        return {"r1": self.r1 / 2 * self.r1_every, "lecam": self.lecam}


def identity_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor unchanged, the average over a single rank."""
    return tensor


def r1_penalty(discriminator: nn.Module, real: torch.Tensor) -> torch.Tensor:
    """Compute the R1 gradient penalty: the squared gradient norm at real images.

    With one logit per image this is R1 of Mescheder et al. 2018, eq. 9. With several, the squared
    norm of the gradient of their sum is divided by their number, so the weight keeps its meaning
    for larger images. The result is averaged over images.

    Args:
        discriminator: Module that maps images to a `DiscriminatorOutput`.
        real: Real images ``(B, C, *spatial)``. Computed in float32, since the result is
            differentiated twice.

    Returns:
        Penalty, a scalar.
    """
    with autocast_disabled(real):
        images = to_float32_or_higher(real.detach()).requires_grad_()
        logits: torch.Tensor = discriminator(images).logits
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return slope.square().sum() / logits.numel()


class LeCamLogitEMA(nn.Module):
    """Exponential moving averages of the mean logits of real images and reconstructions.

    The logits gathered at the same ``samples_seen`` form one step, which enters the averages when
    the next step begins. The averages therefore do not depend on how a batch is split. All state is
    stored in buffers.

    Args:
        decay: Decay per discriminator step, in [0, 1); defaults to 0.99.

    Attributes:
        means: Averages for real images and reconstructions, ``(2,)``, initially 0.
        gathered: Sums over the samples of the current step, ``(2,)``.
        samples: Number of samples of the current step.
        place: Samples seen before the current step, -1 before the first.
        steps: Number of steps in the averages.
    """

    means: torch.Tensor
    gathered: torch.Tensor
    samples: torch.Tensor
    place: torch.Tensor
    steps: torch.Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self._decay = decay
        self.register_buffer("means", torch.zeros(2))
        self.register_buffer("gathered", torch.zeros(2))
        for name, first in (("samples", 0), ("place", -1), ("steps", 0)):
            self.register_buffer(name, torch.tensor(first))

    def penalty(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        """Compute the LeCam regularization (Tseng et al. 2021, section 3).

        As in the authors' implementation, only logits of real images above the average of
        reconstructions count, and logits of reconstructions below the average of real images. The
        result is 0 before the first step has entered the averages.

        Args:
            real: Logits of real images, any shape.
            fake: Logits of reconstructions.

        Returns:
            Penalty, a scalar.
        """
        mean_real, mean_fake = self.means
        above = functional.relu(real - mean_fake).square().mean()
        below = functional.relu(mean_real - fake).square().mean()
        return (above + below) * (self.steps > 0)

    @torch.no_grad()
    def begin(self, samples_seen: int) -> None:
        """Begin a step: add the previous one to the averages unless ``samples_seen`` is unchanged.

        The first step initializes the averages.
        """
        # Without conditions in Python, which would wait for the GPU.
        new = self.place != samples_seen
        complete = new & (self.samples > 0)
        share = torch.where(self.steps > 0, 1 - self._decay, 1.0).to(self.means)
        means = self.means.lerp(self.gathered / self.samples.clamp_min(1), share)
        self.means.copy_(torch.where(complete, means, self.means))
        self.steps.add_(complete)
        self.gathered.masked_fill_(new, 0)
        self.samples.masked_fill_(new, 0)
        self.place.fill_(samples_seen)

    @torch.no_grad()
    def gather(self, real: torch.Tensor, fake: torch.Tensor, reduce: Reduce) -> None:
        """Add the logits ``(B, 1, *spatial)`` of a part of the current step's batch."""
        means = reduce(torch.stack([real.mean(), fake.mean()]).to(self.means))
        self.gathered.add_(len(real) * means)
        self.samples.add_(len(real))
