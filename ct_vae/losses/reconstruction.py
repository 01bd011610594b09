"""Reconstruction losses: means over all voxels, in model units or on logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from ct_vae.config.loss import LOGIT_LOSSES
from ct_vae.errors import ConfigError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_CHARBONNIER_EPS = 1e-3


class Reconstruction:
    """How the output of a decoder becomes an image, and what of it is compared with the target.

    Args:
        recon_type: A name that `reconstruction_loss` knows.
        activation: The decoder's output activation, a sigmoid for losses on logits.
        focal_gamma: Of ``bce_focal``.
        charbonnier_eps: Of ``charbonnier``.

    Raises:
        ConfigError: If there is no loss of that name, or if the activation does not fit it.
    """

    def __init__(
        self,
        recon_type: str,
        activation: nn.Module | None = None,
        focal_gamma: float = 2.0,
        charbonnier_eps: float = _CHARBONNIER_EPS,
    ) -> None:
        self._loss = reconstruction_loss(recon_type, focal_gamma, charbonnier_eps)
        self._on_logits = recon_type in LOGIT_LOSSES
        default = nn.Sigmoid() if self._on_logits else nn.Identity()
        self._activation = default if activation is None else activation
        if self._on_logits and not isinstance(self._activation, nn.Sigmoid):
            raise ConfigError(
                f"recon_type {recon_type!r} is for decoders that end in a sigmoid, not in "
                f"{type(self._activation).__name__}",
                "set model.output_activation to 'sigmoid'",
            )

    def image(self, raw: torch.Tensor) -> torch.Tensor:
        """Model units ``(B, C, *spatial)`` of what the decoder gives before its activation."""
        result: torch.Tensor = self._activation(raw)
        return result

    def __call__(
        self, raw: torch.Tensor, image: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Compare the raw output, or the image that it becomes, with the target."""
        return self._loss(raw if self._on_logits else image, target)


def reconstruction_loss(
    recon_type: str, focal_gamma: float = 2.0, charbonnier_eps: float = _CHARBONNIER_EPS
) -> Loss:
    """The loss of that name, a function of reconstruction and target ``(B, C, *spatial)``.

    ``l1``, ``mse`` and ``charbonnier`` compare model units. ``bce`` and ``bce_focal`` take logits
    and targets in [0, 1]; the least value of ``bce`` is the entropy of the target, not 0.

    Args:
        recon_type: One of these names.
        focal_gamma: Of ``bce_focal``, 0 or at least 1.
        charbonnier_eps: Of ``charbonnier``, in model units.

    Raises:
        ConfigError: If there is no loss of that name, or if gamma is out of range.
    """
    if focal_gamma < 0 or 0 < focal_gamma < 1:
        raise ConfigError(f"focal_gamma is 0 or at least 1, got {focal_gamma}")
    losses: dict[str, Loss] = {
        "l1": functional.l1_loss,
        "mse": functional.mse_loss,
        "charbonnier": partial(charbonnier, eps=charbonnier_eps),
        "bce": functional.binary_cross_entropy_with_logits,
        "bce_focal": partial(bce_focal, gamma=focal_gamma),
    }
    if recon_type not in losses:
        raise ConfigError(f"recon_type {recon_type!r} is not one of {', '.join(losses)}")
    return losses[recon_type]


def charbonnier(
    reconstruction: torch.Tensor, target: torch.Tensor, eps: float = _CHARBONNIER_EPS
) -> torch.Tensor:
    """Absolute error with a round bottom, ``sqrt(d^2 + eps^2)`` (Charbonnier et al. 1994).

    The least value is ``eps``, in model units.
    """
    return (reconstruction - target).square().add(eps**2).sqrt().mean()


def bce_focal(logits: torch.Tensor, target: torch.Tensor, gamma: float) -> torch.Tensor:
    """Cross-entropy times ``|target - p|^gamma`` with ``p`` the sigmoid of the logit.

    The focal loss (Lin et al. 2017, eq. 4) for targets between 0 and 1, as Li et al. 2020 write
    it (their quality focal loss). It is 0 where ``p`` is the target.

    Args:
        logits: Any shape.
        target: Of that shape, in [0, 1].
        gamma: 0, which leaves the cross-entropy, or at least 1: between, the slope has no bound.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return ((target - torch.sigmoid(logits)).abs() ** gamma * entropy).mean()
