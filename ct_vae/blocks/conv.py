"""Convolutions of any dimension."""

from __future__ import annotations

from typing import cast

from monai.networks.layers.factories import Conv
from torch import nn


def ConvND(  # noqa: N802 - it stands for the class that MONAI's factory picks by dimension
    spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1
) -> nn.Module:
    """A convolution that keeps the sides at stride 1: odd kernel, zero padding of half of it.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: Channels of the input ``(B, in_channels, *spatial)``.
        out_channels: Channels of the output.
        kernel: Side of the kernel, odd.
        stride: Step per axis. Above 1 nothing is padded: the caller decides on which side.
    """
    padding = kernel // 2 if stride == 1 else 0
    kind = Conv[Conv.CONV, spatial_dims]
    return cast(nn.Module, kind(in_channels, out_channels, kernel, stride, padding))
