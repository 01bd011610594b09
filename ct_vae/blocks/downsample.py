"""Downsampling layers that halve the spatial size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ct_vae.blocks.conv import (
    CONVOLUTIONS,
    ConvND,
    PaddedConv,
    PaddingMode,
    check_causal_axis,
    check_causal_padding,
    pad,
    per_axis,
)
from ct_vae.blocks.receptive_field import ChainModule, LocalModule, Operator, ReceptiveField
from ct_vae.errors import ConfigError, InputError


class DownsampleND(PaddedConv):
    """Strided 3-wide convolution, the downsampling layer of CompVis (Rombach et al. 2022).

    Output ``i`` depends on voxels ``2i`` to ``2i + 2`` of a halved axis; on the causal axis it
    depends on voxels ``2i - 1`` to ``2i + 1``.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        channels: Channels of input ``(B, channels, *spatial)`` and output.
        strides: Stride of each axis, 1 or 2, at least one of them 2; defaults to 2.
        padding_mode: Padding of the border; defaults to ``zeros``.
        causal_axis: Axis along which an output depends on no voxel after its own two; optional.

    Raises:
        ConfigError: If strides, padding mode and causal axis are incompatible.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        strides: int | Sequence[int] = 2,
        padding_mode: PaddingMode = "zeros",
        causal_axis: int | None = None,
    ) -> None:
        steps = step_strides(spatial_dims, strides, padding_mode, causal_axis)
        conv = CONVOLUTIONS[spatial_dims](channels, channels, 3, stride=steps)
        low, high = [2 - step for step in steps], [1] * spatial_dims
        if causal_axis is not None:
            low[causal_axis], high[causal_axis] = low[causal_axis] + 1, 0
        super().__init__(conv, low, high, padding_mode)
        self.strides = steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to ``spatial // strides``.

        Raises:
            InputError: If a spatial size is too small.
        """
        _check_sides(x, self.strides, self.padding_mode)
        return super().forward(x)


class BlurPoolND(LocalModule):
    """Anti-aliased downsampling: blur with (1, 3, 3, 1) / 8, keep every other voxel (Zhang 2019).

    Output ``i`` of a halved axis depends on voxels ``2i - 1`` to ``2i + 2``, centered on its own
    two; on the causal axis it depends on voxels ``2i - 2`` to ``2i + 1``. The layer has no
    parameters and works per channel, for any number of channels.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        strides: Stride of each axis, 1 or 2, at least one of them 2; defaults to 2. An axis of
            stride 1 is not blurred.
        padding_mode: Padding of the border; defaults to ``zeros``.
        causal_axis: Axis along which an output depends on no voxel after its own two; optional.

    Raises:
        ConfigError: If strides, padding mode and causal axis are incompatible.
    """

    def __init__(
        self,
        spatial_dims: int,
        strides: int | Sequence[int] = 2,
        padding_mode: PaddingMode = "zeros",
        causal_axis: int | None = None,
    ) -> None:
        super().__init__()
        self.strides = step_strides(spatial_dims, strides, padding_mode, causal_axis)
        low = [step - 1 for step in self.strides]
        high = low.copy()
        if causal_axis is not None and self.strides[causal_axis] == 2:
            low[causal_axis], high[causal_axis] = 2, 0
        self.low, self.high, self.padding_mode = tuple(low), tuple(high), padding_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, C, *spatial)`` to ``spatial // strides``.

        Raises:
            InputError: If a spatial size is too small.
        """
        _check_sides(x, self.strides, self.padding_mode)
        return self._blurred(pad(x, self.low, self.high, self.padding_mode))

    def receptive_field(self) -> ReceptiveField:
        """Return four slices for a halved axis, or one slice for an axis of stride 1."""
        step = self.strides[0]
        return ReceptiveField(3 * step - 2, step, self.low[0], self.high[0], self.padding_mode)

    def unpadded_operator(self) -> Operator:
        """Return an operator that pads only the other axes and blurs."""
        low, high = (0, *self.low[1:]), (0, *self.high[1:])
        return lambda x: self._blurred(pad(x, low, high, self.padding_mode))

    def _blurred(self, x: torch.Tensor) -> torch.Tensor:
        for axis, step in enumerate(self.strides, start=2):
            x = _blur_and_halve(x, axis) if step == 2 else x
        return x


class BlurDownsampleND(ChainModule):
    """3-wide convolution followed by anti-aliased downsampling.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        channels: Channels of input ``(B, channels, *spatial)`` and output.
        strides: Stride of each axis, 1 or 2, at least one of them 2; defaults to 2.
        padding_mode: Padding of the border; defaults to ``zeros``.
        causal_axis: Axis along which an output depends on no voxel after its own two; optional.

    Raises:
        ConfigError: If strides, padding mode and causal axis are incompatible.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        strides: int | Sequence[int] = 2,
        padding_mode: PaddingMode = "zeros",
        causal_axis: int | None = None,
    ) -> None:
        super().__init__()
        self.blur = BlurPoolND(spatial_dims, strides, padding_mode, causal_axis)
        self.conv = ConvND(
            spatial_dims, channels, channels, padding_mode=padding_mode, causal_axis=causal_axis
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to ``spatial // strides``.

        Raises:
            InputError: If a spatial size is too small.
        """
        _check_sides(x, self.blur.strides, self.blur.padding_mode)
        result: torch.Tensor = self.blur(self.conv(x))
        return result

    def parts(self) -> Sequence[nn.Module]:
        """Return the convolution and the blur."""
        return self.conv, self.blur


def step_strides(
    spatial_dims: int,
    strides: int | Sequence[int],
    padding_mode: PaddingMode,
    causal_axis: int | None,
) -> tuple[int, ...]:
    """Return the stride of each axis between two levels.

    Raises:
        ConfigError: If a stride is neither 1 nor 2, if none is 2, if the causal axis is out of
            range, or if the padding mode is incompatible with a causal axis.
    """
    steps = per_axis(strides, spatial_dims)
    if 2 not in steps:
        raise ConfigError(
            f"strides {steps} change no side", "set the stride of at least one axis to 2"
        )
    check_causal_axis(causal_axis, spatial_dims)
    check_causal_padding(padding_mode, causal_axis)
    return steps


def _check_sides(x: torch.Tensor, strides: tuple[int, ...], padding_mode: PaddingMode) -> None:
    sides = tuple(x.shape[2:])
    if any(side < step for side, step in zip(sides, strides, strict=True)):
        raise InputError(f"sides {sides} are too short for strides {strides}", "pad the input")
    check_reflection(sides, padding_mode)


def check_reflection(sides: Sequence[int], padding_mode: PaddingMode) -> None:
    """Check that reflection padding is possible.

    Raises:
        InputError: If ``padding_mode`` is ``reflect`` and a spatial size is 1.
    """
    if padding_mode == "reflect" and min(sides) < 2:
        raise InputError(
            f"padding_mode 'reflect' needs at least 2 voxels along each axis, got {tuple(sides)}",
            "choose another padding_mode, or larger inputs",
        )


def _blur_and_halve(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Compute weighted sums of four neighbors with stride 2; ``n`` voxels become ``n // 2 - 1``."""
    # On a CPU, the sum of four views is faster than a depthwise convolution.
    count = x.shape[axis] // 2 - 1
    before = (slice(None),) * axis
    a, b, c, d = (x[(*before, slice(i, i + 2 * count - 1, 2))] for i in range(4))
    return (a + d + 3 * (b + c)) / 8
