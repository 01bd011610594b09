"""Reconstruction losses, averaged over all voxels, on model units or on logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from ct_vae.config.loss import LOGIT_LOSSES
from ct_vae.errors import ConfigError
from ct_vae.losses.voxel_mean import VoxelMean

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_CHARBONNIER_EPS = 1e-3


class Reconstruction:
    """Reconstruction loss together with the output activation of the decoder.

    Args:
        recon_type: Name of the loss, see `reconstruction_loss`.
        activation: Output activation of the decoder; must be a sigmoid for losses on logits, for
            which it is the default.
        focal_gamma: Exponent of ``bce_focal``; defaults to 2.
        charbonnier_eps: Constant of ``charbonnier`` in model units; defaults to 1e-3.
        mean: Mean over voxels; defaults to `torch.mean`.

    Raises:
        ConfigError: If the loss is unknown or does not match the activation.
    """

    def __init__(
        self,
        recon_type: str,
        activation: nn.Module | None = None,
        focal_gamma: float = 2.0,
        charbonnier_eps: float = _CHARBONNIER_EPS,
        mean: VoxelMean = torch.mean,
    ) -> None:
        self._loss = reconstruction_loss(recon_type, focal_gamma, charbonnier_eps, mean)
        self._on_logits = recon_type in LOGIT_LOSSES
        default = nn.Sigmoid() if self._on_logits else nn.Identity()
        self._activation = default if activation is None else activation
        if self._on_logits and not isinstance(self._activation, nn.Sigmoid):
            raise ConfigError(
                f"recon_type {recon_type!r} requires a decoder with a sigmoid at its end, not "
                f"{type(self._activation).__name__}",
                "set model.output_activation to 'sigmoid'",
            )

    def image(self, raw: torch.Tensor) -> torch.Tensor:
        """Apply the output activation to the raw decoder output ``(B, C, *spatial)``."""
        result: torch.Tensor = self._activation(raw)
        return result

    def __call__(
        self, raw: torch.Tensor, image: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Compute the loss of the raw output if it is on logits, or else of the image."""
        return self._loss(raw if self._on_logits else image, target)


def reconstruction_loss(
    recon_type: str,
    focal_gamma: float = 2.0,
    charbonnier_eps: float = _CHARBONNIER_EPS,
    mean: VoxelMean = torch.mean,
) -> Loss:
    """Return a reconstruction loss, a function of reconstruction and target ``(B, C, *spatial)``.

    ``l1``, ``mse`` and ``charbonnier`` compare model units. ``bce`` and ``bce_focal`` take logits
    and targets in [0, 1]; the minimum of ``bce`` is the entropy of the target, not 0.

    Args:
        recon_type: Name of the loss.
        focal_gamma: Exponent of ``bce_focal``, 0 or at least 1; defaults to 2.
        charbonnier_eps: Constant of ``charbonnier`` in model units; defaults to 1e-3.
        mean: Mean over voxels; defaults to `torch.mean`.

    Raises:
        ConfigError: If the loss is unknown, or if gamma is out of range.
    """
    if focal_gamma < 0 or 0 < focal_gamma < 1:
        raise ConfigError(f"focal_gamma is 0 or at least 1, got {focal_gamma}")
    losses: dict[str, Loss] = {
        "l1": lambda a, b: mean(functional.l1_loss(a, b, reduction="none")),
        "mse": lambda a, b: mean(functional.mse_loss(a, b, reduction="none")),
        "charbonnier": partial(charbonnier, eps=charbonnier_eps, mean=mean),
        "bce": lambda a, b: mean(
            functional.binary_cross_entropy_with_logits(a, b, reduction="none")
        ),
        "bce_focal": partial(bce_focal, gamma=focal_gamma, mean=mean),
    }
    if recon_type not in losses:
        raise ConfigError(f"recon_type {recon_type!r} is not one of {', '.join(losses)}")
    return losses[recon_type]


def charbonnier(
    reconstruction: torch.Tensor,
    target: torch.Tensor,
    eps: float = _CHARBONNIER_EPS,
    mean: VoxelMean = torch.mean,
) -> torch.Tensor:
    """Charbonnier loss ``sqrt(d^2 + eps^2)``, a smooth absolute error (Charbonnier et al. 1994).

    Its minimum is ``eps``, in model units.
    """
    return mean((reconstruction - target).square().add(eps**2).sqrt())


def bce_focal(
    logits: torch.Tensor, target: torch.Tensor, gamma: float, mean: VoxelMean = torch.mean
) -> torch.Tensor:
    """Binary cross-entropy times ``|target - p|^gamma``, with ``p`` the sigmoid of the logit.

    This is the focal loss (Lin et al. 2017, eq. 4) for targets between 0 and 1, the quality focal
    loss of Li et al. 2020. It is 0 if ``p`` equals the target.

    Args:
        logits: Logits of any shape.
        target: Target of the same shape, in [0, 1].
        gamma: Exponent, 0 (plain cross-entropy) or at least 1; the gradient is unbounded in
            between.
        mean: Mean over voxels; defaults to `torch.mean`.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return mean((target - torch.sigmoid(logits)).abs() ** gamma * entropy)
