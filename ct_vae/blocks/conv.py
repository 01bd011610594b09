"""Convolutions in 1, 2 or 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.fast_conv import convolution
from ct_vae.blocks.receptive_field import LocalModule, Operator, PaddingMode, ReceptiveField
from ct_vae.errors import ConfigError

# MONAI's layer factories choose the same classes, but importing MONAI takes seconds.
CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}

__all__ = [
    "CONVOLUTIONS",
    "ConvND",
    "PaddedConv",
    "PaddingMode",
    "check_causal_axis",
    "check_causal_padding",
    "pad",
    "padded_convolution",
    "per_axis",
]


def ConvND(  # noqa: N802 - it stands for the class that MONAI's factory picks by dimension
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    bias: bool = True,
    padding_mode: PaddingMode = "zeros",
    causal_axis: int | None = None,
) -> nn.Module:
    """Create a convolution that keeps the spatial size: odd kernel, padding of half its size.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        in_channels: Channels of the input ``(B, in_channels, *spatial)``.
        out_channels: Channels of the output.
        kernel: Kernel size, odd; defaults to 3.
        bias: If true (the default), the convolution has a bias.
        padding_mode: Padding of the border; defaults to ``zeros``.
        causal_axis: Axis along which an output depends on no later voxel, which puts all padding
            before the first voxel; ``None`` (the default) pads both ends equally.
    """
    kind = CONVOLUTIONS[spatial_dims]
    if causal_axis is None or kernel == 1:
        padding = kernel // 2
        return kind(
            in_channels, out_channels, kernel, padding=padding, bias=bias, padding_mode=padding_mode
        )
    low, high = [kernel // 2] * spatial_dims, [kernel // 2] * spatial_dims
    low[causal_axis], high[causal_axis] = kernel - 1, 0
    inner = kind(in_channels, out_channels, kernel, bias=bias)
    return PaddedConv(inner, low, high, padding_mode)


class PaddedConv(LocalModule):
    """Convolution with explicit padding, which may differ between the two ends of an axis.

    Args:
        conv: Convolution without padding of its own.
        low: Voxels added before each axis.
        high: Voxels added after each axis.
        padding_mode: Padding of the border.
    """

    def __init__(
        self, conv: nn.Module, low: Sequence[int], high: Sequence[int], padding_mode: PaddingMode
    ) -> None:
        super().__init__()
        self.conv = conv
        self.low, self.high, self.padding_mode = tuple(low), tuple(high), padding_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad ``(B, channels, *spatial)`` and convolve."""
        result: torch.Tensor = self.conv(pad(x, self.low, self.high, self.padding_mode))
        return result

    def receptive_field(self) -> ReceptiveField:
        """Return the receptive field of the kernel and the padding at both ends."""
        kernel, stride = (
            cast("tuple[int, ...]", n) for n in (self.conv.kernel_size, self.conv.stride)
        )
        return ReceptiveField(kernel[0], stride[0], self.low[0], self.high[0], self.padding_mode)

    def unpadded_operator(self) -> Operator:
        """Return an operator that pads only the other axes and convolves."""
        return padded_convolution(self.conv, self.low[1:], self.high[1:], self.padding_mode)


def padded_convolution(
    conv: nn.Module, low: Sequence[int], high: Sequence[int], mode: PaddingMode
) -> Operator:
    """Return a 3-D convolution of slabs that are already padded along the first axis.

    Args:
        conv: Convolution; its own padding is ignored.
        low: Voxels to add before the other two axes.
        high: Voxels to add after the other two axes.
        mode: Padding of the border.
    """
    if mode == "zeros" and tuple(low) == tuple(high):
        return convolution(conv, (0, low[0], low[1]))
    inner = convolution(conv, (0, 0, 0))
    return lambda x: inner(pad(x, (0, *low), (0, *high), mode))


def pad(
    x: torch.Tensor, low: Sequence[int], high: Sequence[int], mode: PaddingMode
) -> torch.Tensor:
    """Pad ``(B, C, *spatial)`` with ``low`` voxels before and ``high`` voxels after each axis."""
    # `functional.pad` lists the axes from last to first.
    amounts = [n for pair in zip(reversed(low), reversed(high), strict=True) for n in pair]
    return functional.pad(x, amounts, mode="constant" if mode == "zeros" else mode)


def check_causal_padding(padding_mode: PaddingMode, causal_axis: int | None) -> None:
    """Check that the padding of a causal axis contains no later voxels.

    Raises:
        ConfigError: If there is a causal axis and the padding mode is ``reflect`` or ``circular``.
    """
    if causal_axis is not None and padding_mode in ("reflect", "circular"):
        raise ConfigError(
            f"padding_mode {padding_mode!r} puts later voxels before the first of causal_axis "
            f"{causal_axis}",
            "choose 'zeros' or 'replicate'",
        )


def check_causal_axis(causal_axis: int | None, spatial_dims: int) -> None:
    """Check that the causal axis is an axis of the image.

    Raises:
        ConfigError: If the axis is out of range.
    """
    if causal_axis is not None and not 0 <= causal_axis < spatial_dims:
        raise ConfigError(f"causal_axis {causal_axis} is out of range for {spatial_dims} axes")


def per_axis(strides: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    """Expand strides to one stride per axis.

    Raises:
        ConfigError: If the number of strides is wrong, or if a stride is neither 1 nor 2.
    """
    given = (strides,) * spatial_dims if isinstance(strides, int) else tuple(strides)
    if len(given) != spatial_dims or not set(given) <= {1, 2}:
        raise ConfigError(
            f"a step between levels has a stride of 1 or 2 for each of {spatial_dims} axes, "
            f"got {given}"
        )
    return given
