"""The weighted sum that training minimises, with every term on view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ct_vae.errors import ConfigError
from ct_vae.losses.reconstruction import reconstruction_loss


@dataclass(frozen=True, eq=False)
class Terms:
    """Value of the objective and of its parts, scalars in float32.

    Attributes:
        total: What is minimised: reconstruction and weighted regularisers.
        reconstruction: Mean over voxels.
        regularisers: Unweighted, by name: means over latent elements.
    """

    total: torch.Tensor
    reconstruction: torch.Tensor
    regularisers: Mapping[str, torch.Tensor]


class Objective:
    """Reconstruction loss and weighted regularisers of the latent.

    With ``kl`` it is the negative evidence lower bound per element (Kingma and Welling 2014, eq.
    10), with ``commitment`` the loss of van den Oord et al. 2017, eq. 3, whose codebook follows by
    moving averages, with ``entropy`` that of Yu et al. 2023, eq. 5.

    Args:
        recon_type: ``l1`` or ``mse``.
        weights: Of regularisers by name. They multiply means per latent element, so that they
            keep their meaning when the patch size changes.
    """

    def __init__(self, recon_type: str, weights: Mapping[str, float]) -> None:
        self._reconstruction = reconstruction_loss(recon_type)
        self._weights = dict(weights)

    def __call__(
        self,
        reconstruction: torch.Tensor,
        target: torch.Tensor,
        regularisers: Mapping[str, torch.Tensor],
    ) -> Terms:
        """Compare ``(B, C, *spatial)`` with its target and add the regularisers.

        Raises:
            ConfigError: If a regulariser has no weight.
        """
        strange = sorted(regularisers.keys() - self._weights.keys())
        if strange:
            raise ConfigError(f"no weight for the terms {strange}, known: {sorted(self._weights)}")
        rec = self._reconstruction(reconstruction.float(), target.float())
        total = rec
        for name, value in regularisers.items():
            total = total + self._weights[name] * value
        return Terms(total, rec, regularisers)
