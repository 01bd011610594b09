"""Halving and doubling of the sides."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND


class DownsampleND(nn.Module):
    """A 3-wide convolution of stride 2 after one zero at the high end of every axis.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: Channels of input and output.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self._pad = (0, 1) * spatial_dims
        self.conv = ConvND(spatial_dims, channels, channels, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` with even sides to half of them."""
        result: torch.Tensor = self.conv(functional.pad(x, self._pad))
        return result


class UpsampleND(nn.Module):
    """Every voxel doubled along every axis, then a 3-wide convolution.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: Channels of input and output.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvND(spatial_dims, channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to twice the sides."""
        result: torch.Tensor = self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return result
