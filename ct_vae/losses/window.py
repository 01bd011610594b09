"""Reconstruction loss within a display window."""

from __future__ import annotations

import torch

from ct_vae.errors import ConfigError
from ct_vae.losses.voxel_mean import VoxelMean


class WindowLoss:
    """Mean absolute error of values clipped to a display window, in units of its width.

    Values beyond the window are clipped to its ends, as on a screen. The gradient is zero there, so
    errors that large are left to the reconstruction loss.

    Args:
        low: Lower end of the window in model units.
        high: Upper end of the window in model units.
        mean: Mean over voxels; defaults to `torch.mean`.

    Raises:
        ConfigError: If the window is empty.
    """

    def __init__(self, low: float, high: float, mean: VoxelMean = torch.mean) -> None:
        if not low < high:
            raise ConfigError(f"a window runs from low to high, got {low}, {high}")
        self.low, self.high = low, high
        self._mean = mean

    def __call__(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of ``(B, C, *spatial)`` in model units; 1 is white instead of black."""
        error = image.clamp(self.low, self.high) - target.clamp(self.low, self.high)
        return self._mean(error.abs()) / (self.high - self.low)
