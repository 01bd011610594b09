"""What keeps a discriminator from running away: its slope at real images, and its own past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ct_vae.errors import ConfigError
from ct_vae.losses.precision import full_precision, wide

Reduce = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Penalties:
    """Costs beside the game; a cost of 0 is not computed.

    Attributes:
        r1: Of the squared slope at real images.
        r1_every: Steps from one look at the slope to the next.
        lecam: Of verdicts that leave their moving averages.

    Raises:
        ConfigError: If a cost is negative, or if there is no step between two looks.
    """

    r1: float = 0.0
    r1_every: int = 16
    lecam: float = 0.0

    def __post_init__(self) -> None:
        if min(self.r1, self.lecam) < 0 or self.r1_every < 1:
            raise ConfigError(f"penalties are 0 or more, at every step or more seldom, got {self}")

    @property
    def weights(self) -> dict[str, float]:
        """Weights of ``r1`` and ``lecam``.

        One look at the slope weighs half the cost (Mescheder et al. 2018, eq. 9) times the steps
        that it stands for (Karras et al. 2020, appendix B).
        """
        return {"r1": self.r1 / 2 * self.r1_every, "lecam": self.lecam}


def unreduced(tensor: torch.Tensor) -> torch.Tensor:
    """The average over a single rank."""
    return tensor


def squared_slope(discriminator: nn.Module, real: torch.Tensor) -> torch.Tensor:
    """Squared norm of a logit's gradient with respect to real images, mean over images.

    With a single logit per image this is R1 of Mescheder et al. 2018, eq. 9. With more, the
    gradient of their sum is taken and its squared norm divided by their number, so that the cost
    keeps its meaning when images are larger.

    Args:
        discriminator: Gives a `Judgement`.
        real: ``(B, C, *spatial)``. Computed in float32, since it is differentiated twice.
    """
    with full_precision(real):
        images = wide(real.detach()).requires_grad_()
        logits: torch.Tensor = discriminator(images).logits
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return slope.square().sum() / logits.numel()


class VerdictAverages(nn.Module):
    """Moving averages of the mean logit of real images and of reconstructions.

    What is gathered at one place of the run is one step; it enters the averages when the next
    step begins, so that they do not depend on how a batch was split. All state lies in buffers.

    Args:
        decay: Per step of the discriminator, in [0, 1).

    Attributes:
        means: Averages of real images and reconstructions, ``(2,)``, 0 before there are any.
        gathered: Sums over the samples of the step that is going on, ``(2,)``.
        samples: Number of these samples.
        place: Samples seen before that step, -1 before the first.
        steps: Steps that have entered the averages.
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
        """How far verdicts on real images exceed the average of reconstructions, and the reverse.

        Tseng et al. 2021 (LeCam, section 3); like the authors' program it counts only logits of
        real images above that average, and of reconstructions below theirs. 0 without averages.

        Args:
            real: Logits of real images, any shape.
            fake: Logits of reconstructions.
        """
        mean_real, mean_fake = self.means
        above = functional.relu(real - mean_fake).square().mean()
        below = functional.relu(mean_real - fake).square().mean()
        return (above + below) * (self.steps > 0)

    @torch.no_grad()
    def begin(self, samples_seen: int) -> None:
        """Close the step before if this place is a new one; the first step is the average."""
        if self.place.item() == samples_seen:
            return
        if self.samples.item() > 0:
            share = 1 - self._decay if self.steps.item() > 0 else 1.0
            self.means.lerp_(self.gathered / self.samples, share)
            self.steps.add_(1)
        self.gathered.zero_()
        self.samples.zero_()
        self.place.fill_(samples_seen)

    @torch.no_grad()
    def gather(self, real: torch.Tensor, fake: torch.Tensor, reduce: Reduce) -> None:
        """Take in logits ``(B, 1, *spatial)`` of a part of the step's batch."""
        means = reduce(torch.stack([real.mean(), fake.mean()]).to(self.means))
        self.gathered.add_(len(real) * means)
        self.samples.add_(len(real))
