"""Errors within a display window."""

from __future__ import annotations

import torch

from ct_vae.errors import ConfigError


class WindowLoss:
    """Mean absolute error of values clipped to a window, in units of its width.

    What lies beyond the window counts as its end, as on a screen: there the loss is flat, and a
    reconstruction that far off is left to the reconstruction loss.

    Args:
        low: End of the window in model units.
        high: Its other end.

    Raises:
        ConfigError: If the window is empty.
    """

    def __init__(self, low: float, high: float) -> None:
        if not low < high:
            raise ConfigError(f"a window runs from low to high, got {low}, {high}")
        self.low, self.high = low, high

    def __call__(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare ``(B, C, *spatial)`` in model units; 1 is a screen of black instead of white."""
        error = image.clamp(self.low, self.high) - target.clamp(self.low, self.high)
        return error.abs().mean() / (self.high - self.low)
