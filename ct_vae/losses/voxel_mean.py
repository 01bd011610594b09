"""Means over voxels, uniform or weighted by the place of a voxel in its latent voxel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

VoxelMean = Callable[[torch.Tensor], torch.Tensor]


def voxel_mean(factor: Sequence[int], face_weight: float) -> VoxelMean:
    """Return a mean over ``(B, C, *spatial)`` that weights voxels next to faces of latent voxels.

    An autoencoder that works on blocks has a larger error at their faces, because the numbers of
    one block describe its middle best. In flat tissue this shows as a grid.

    Args:
        factor: Voxels per latent voxel along each axis; the first voxel of an image is the first
            one of a latent voxel.
        face_weight: Weight of voxels at both ends of a latent voxel relative to those between,
            along each axis; weights of several axes multiply. With 1 all voxels count the same.
    """
    if face_weight == 1:
        return torch.mean
    weights = [_axis_weights(step, face_weight) for step in factor]

    def mean(values: torch.Tensor) -> torch.Tensor:
        total = torch.ones((), dtype=values.dtype, device=values.device)
        for axis, weight in enumerate(weights):
            shape = [1] * len(weights)
            shape[axis] = -1
            repeats = values.shape[axis - len(weights)] // len(weight)
            total = total * weight.to(total).repeat(repeats).view(shape)
        return (values * total).mean()

    return mean


def _axis_weights(step: int, face_weight: float) -> torch.Tensor:
    """Return the weights along one axis of a latent voxel, with mean 1."""
    weights = torch.ones(step, dtype=torch.float64)
    weights[[0, -1]] = face_weight
    return weights / weights.mean()
