"""Loss on image gradients."""

from __future__ import annotations

import torch


def gradient_loss(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the differences between neighboring voxels, averaged over axes.

    The loss penalizes blurred edges more than a loss on the values does (Mathieu et al. 2016, eq.
    6, with exponent 1). Axes of size 1 are ignored.

    Args:
        image: Reconstruction ``(B, C, *spatial)`` in model units.
        target: Target of the same shape.

    Returns:
        Loss, a scalar.
    """
    error = image - target
    axes = [axis for axis in range(2, error.ndim) if error.shape[axis] > 1]
    if not axes:
        return error.new_zeros(())
    return torch.stack([error.diff(dim=axis).abs().mean() for axis in axes]).mean()
