"""Errors of edges."""

from __future__ import annotations

import torch


def gradient_loss(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the differences between neighbors, averaged over the axes.

    Blurred edges show here more than in the values (Mathieu et al. 2016, eq. 6, with exponent 1).
    An axis of one voxel has no neighbors and does not count.

    Args:
        image: ``(B, C, *spatial)`` in model units.
        target: Of that shape.
    """
    error = image - target
    axes = [axis for axis in range(2, error.ndim) if error.shape[axis] > 1]
    if not axes:
        return error.new_zeros(())
    return torch.stack([error.diff(dim=axis).abs().mean() for axis in axes]).mean()
