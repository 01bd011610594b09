"""Patch embeddings, which let a network work below full resolution, and their inverses."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND, PaddingMode
from ct_vae.blocks.receptive_field import (
    ChainModule,
    LocalModule,
    Operator,
    PerSlice,
    ReceptiveField,
)
from ct_vae.errors import ConfigError, InputError


def patch_sides(patch_size: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    """Expand the patch size to one side per axis.

    Raises:
        ConfigError: If the number of sides is wrong or a side is below 1.
    """
    one = isinstance(patch_size, int)
    sides = (patch_size,) * spatial_dims if isinstance(patch_size, int) else tuple(patch_size)
    if len(sides) != spatial_dims or not all(isinstance(n, int) and n >= 1 for n in sides):
        hint = "at least 1" if one else f"one side for each of {spatial_dims} axes, each at least 1"
        raise ConfigError(f"patch_size is {hint}, got {patch_size}")
    return sides


def space_to_depth(x: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Map ``(B, C, *(spatial * sides))`` to ``(B, C * prod(sides), *spatial)``.

    The channels are ordered as in PyTorch's pixel unshuffle (Shi et al. 2016): voxels of a block
    within channels, the last axis varying fastest. `depth_to_space` is the inverse.

    Raises:
        InputError: If a spatial size is not a multiple of the block size.
    """
    if any(n % p for n, p in zip(x.shape[2:], sides, strict=True)):
        raise InputError(
            f"sides {tuple(x.shape[2:])} are not multiples of blocks of {tuple(sides)} voxels",
            "pad the image",
        )
    dims = len(sides)
    counts = [n // p for n, p in zip(x.shape[2:], sides, strict=True)]
    split = [n for pair in zip(counts, sides, strict=True) for n in pair]
    apart = x.reshape(*x.shape[:2], *split)
    inside = [3 + 2 * axis for axis in range(dims)]
    outside = [2 + 2 * axis for axis in range(dims)]
    # The convolutions that follow are fastest with channels last in memory.
    rows = apart.permute(0, *outside, 1, *inside).reshape(len(x), *counts, x.shape[1] * prod(sides))
    return rows.movedim(-1, 1)


class SpaceToDepthND(LocalModule):
    """Rearrange blocks of voxels into channels.

    Args:
        sides: Size of a block along each axis.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C, *(spatial * sides))`` to ``(B, C * prod(sides), *spatial)``."""
        return space_to_depth(x, self.sides)

    def receptive_field(self) -> ReceptiveField:
        """Return the slices of one block."""
        return ReceptiveField(kernel=self.sides[0], stride=self.sides[0])

    def unpadded_operator(self) -> Operator:
        """Return the module itself, which adds no padding."""
        return self


class DepthToSpaceND(PerSlice):
    """Rearrange channels into blocks of voxels, the inverse of `SpaceToDepthND`.

    Args:
        sides: Size of a block along each axis.
    """

    def __init__(self, sides: Sequence[int]) -> None:
        super().__init__()
        self.sides = tuple(sides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C * prod(sides), *spatial)`` to ``(B, C, *(spatial * sides))``."""
        return depth_to_space(x, self.sides)

    def receptive_field(self) -> ReceptiveField:
        """Return one input slice for the slices of one block."""
        return ReceptiveField(repeats=self.sides[0])


def depth_to_space(x: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Map ``(B, C * prod(strides), *spatial)`` to ``(B, C, *(spatial * strides))``.

    The channels are ordered as in PyTorch's pixel shuffle (Shi et al. 2016): sub-voxels within
    channels, the last axis varying fastest.
    """
    dims, sides = len(strides), x.shape[2:]
    channels = x.shape[1] // prod(strides)
    apart = x.reshape(len(x), channels, *strides, *sides)
    # Each axis of voxels is followed by its axis of sub-voxels.
    order = [2 + axis + part for axis in range(dims) for part in (dims, 0)]
    finer = [step * side for step, side in zip(strides, sides, strict=True)]
    return apart.permute(0, 1, *order).reshape(len(x), channels, *finer)


class PatchEmbedND(ChainModule):
    """Linear map from each block of voxels to a vector of channels, as the patch embedding of ViT.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        in_channels: Channels of the image ``(B, in_channels, *(spatial * sides))``.
        out_channels: Channels of the result ``(B, out_channels, *spatial)``.
        sides: Size of a block along each axis.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, sides: Sequence[int]
    ) -> None:
        super().__init__()
        self.unfold = SpaceToDepthND(sides)
        self.conv = ConvND(spatial_dims, in_channels * prod(sides), out_channels, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *(spatial * sides))`` to ``(B, out_channels, *spatial)``."""
        result: torch.Tensor = self.conv(self.unfold(x))
        return result

    @torch.no_grad()
    def set_map(self, matrix: torch.Tensor, offset: torch.Tensor) -> None:
        """Set the weights of the first ``len(matrix)`` output channels and zero all others.

        Args:
            matrix: Weights ``(channels, in_channels * prod(sides))``, columns in the order of
                `space_to_depth`.
            offset: Biases ``(channels,)``.
        """
        weight, bias = self.conv.get_parameter("weight"), self.conv.get_parameter("bias")
        weight.zero_()
        bias.zero_()
        weight[: len(matrix)].copy_(matrix.reshape(len(matrix), -1, *weight.shape[2:]))
        bias[: len(matrix)].copy_(offset)

    def parts(self) -> Sequence[nn.Module]:
        """Return the rearrangement of voxels and the linear map."""
        return self.unfold, self.conv


class PatchUnembedND(ChainModule):
    """Linear map from each vector of channels to a block of voxels.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        in_channels: Channels of the feature map ``(B, in_channels, *spatial)``.
        out_channels: Channels of the image ``(B, out_channels, *(spatial * sides))``.
        sides: Size of a block along each axis.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, sides: Sequence[int]
    ) -> None:
        super().__init__()
        self.conv = ConvND(spatial_dims, in_channels, out_channels * prod(sides), kernel=1)
        self.fold = DepthToSpaceND(sides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *(spatial * sides))``."""
        result: torch.Tensor = self.fold(self.conv(x))
        return result

    @torch.no_grad()
    def set_map(self, matrix: torch.Tensor, offset: torch.Tensor) -> None:
        """Set the weights.

        Args:
            matrix: Weights ``(out_channels * prod(sides), in_channels)``, rows in the order of
                `space_to_depth`.
            offset: Biases ``(out_channels * prod(sides),)``.
        """
        weight = self.conv.get_parameter("weight")
        weight.copy_(matrix.reshape(weight.shape))
        self.conv.get_parameter("bias").copy_(offset)

    def parts(self) -> Sequence[nn.Module]:
        """Return the linear map and the rearrangement of channels."""
        return self.conv, self.fold


class RefineND(nn.Module):
    """Two 3-wide convolutions at full resolution whose result is added to the image.

    Unlike the map from channels to blocks, they can use voxels of neighboring blocks.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        image_channels: Channels of input and output ``(B, image_channels, *spatial)``.
        channels: Channels between the two convolutions.
        padding_mode: Padding of the border.
    """

    def __init__(
        self, spatial_dims: int, image_channels: int, channels: int, padding_mode: PaddingMode
    ) -> None:
        super().__init__()
        self.conv1 = ConvND(spatial_dims, image_channels, channels, padding_mode=padding_mode)
        self.conv2 = ConvND(spatial_dims, channels, image_channels, padding_mode=padding_mode)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, image_channels, *spatial)`` to the same shape."""
        result: torch.Tensor = x + self.conv2(functional.silu(self.conv1(x)))
        return result


def dct_basis(sides: Sequence[int], codes: int) -> torch.Tensor:
    """Return the lowest frequencies of the orthonormal DCT (type II) of a block.

    Args:
        sides: Size of the block along each axis, slowest axis first; channels count as an axis.
        codes: Number of basis functions, at most ``prod(sides)``.

    Returns:
        Basis ``(codes, prod(sides))`` in float64, ordered by the sum of the relative frequencies.
    """
    axes = [_dct(n) for n in sides]
    basis, frequency = axes[0], torch.arange(sides[0]) / sides[0]
    for matrix, n in zip(axes[1:], sides[1:], strict=True):
        basis = torch.kron(basis, matrix)
        frequency = (frequency[:, None] + torch.arange(n) / n).flatten()
    return basis[torch.argsort(frequency, stable=True)[:codes]]


def _dct(n: int) -> torch.Tensor:
    places = (torch.arange(n, dtype=torch.float64) + 0.5) * torch.pi / n
    rows = torch.cos(torch.arange(n, dtype=torch.float64)[:, None] * places)
    rows *= (2 / n) ** 0.5
    rows[0] /= 2**0.5
    return rows
