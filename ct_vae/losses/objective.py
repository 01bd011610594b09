"""The weighted sum that training minimises, with every term on view."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ct_vae.losses.reconstruction import reconstruction_loss
from ct_vae.models.posterior import DiagonalGaussian


@dataclass(frozen=True, eq=False)
class Terms:
    """Value of the objective and of its parts, scalars in float32.

    Attributes:
        total: What is minimised: ``reconstruction + kl_weight * kl``.
        reconstruction: Mean over voxels.
        kl: Mean over latent elements, unweighted.
    """

    total: torch.Tensor
    reconstruction: torch.Tensor
    kl: torch.Tensor


class Objective:
    """Negative evidence lower bound per element (Kingma and Welling 2014, eq. 10), weighted.

    Args:
        recon_type: ``l1`` or ``mse``.
        kl_weight: Weight of the KL term. It multiplies a mean per latent element, so that it keeps
            its meaning when the patch size changes.
    """

    def __init__(self, recon_type: str, kl_weight: float) -> None:
        self._reconstruction = reconstruction_loss(recon_type)
        self._kl_weight = kl_weight

    def __call__(
        self, reconstruction: torch.Tensor, target: torch.Tensor, posterior: DiagonalGaussian
    ) -> Terms:
        """Compare ``(B, C, *spatial)`` with its target and the posterior with a unit Gaussian."""
        rec = self._reconstruction(reconstruction.float(), target.float())
        kl = posterior.kl().mean()
        return Terms(rec + self._kl_weight * kl, rec, kl)
