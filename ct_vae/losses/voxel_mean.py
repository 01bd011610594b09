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

    def mean(values: torch.Tensor) -> torch.Tensor:
        total = values.new_ones(())
        for axis, step in enumerate(factor):
            shape = [1] * len(factor)
            shape[axis] = -1
            repeats = values.shape[axis - len(factor)] // step
            total = total * _axis_weights(step, face_weight, values).repeat(repeats).view(shape)
        return (values * total).mean()

    return mean


def _axis_weights(step: int, face_weight: float, like: torch.Tensor) -> torch.Tensor:
    """Return the weights along one axis of a latent voxel, with mean 1, of the type of ``like``."""
    faces = min(step, 2)
    average = (faces * face_weight + step - faces) / step
    # Filled on the device: a GPU would have to finish its work before a copy from the host.
    weights = like.new_full((step,), 1 / average)
    for end in (weights[:1], weights[-1:]):
        end.fill_(face_weight / average)
    return weights
