"""Reconstruction losses: means over all voxels, in model units."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from ct_vae.errors import ConfigError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_LOSSES: dict[str, Loss] = {"l1": functional.l1_loss, "mse": functional.mse_loss}


def reconstruction_loss(recon_type: str) -> Loss:
    """The loss of that name, a function of reconstruction and target ``(B, C, *spatial)``.

    Raises:
        ConfigError: If there is no loss of that name.
    """
    if recon_type not in _LOSSES:
        raise ConfigError(f"recon_type {recon_type!r} is not one of {', '.join(_LOSSES)}")
    return _LOSSES[recon_type]
