"""Halving of the sides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import nn

from ct_vae.blocks.conv import (
    ConvND,
    PaddedConv,
    PaddingMode,
    check_causal_axis,
    check_causal_padding,
    pad,
    per_axis,
)
from ct_vae.blocks.receptive_field import ChainModule, LocalModule, Reach, Ready
from ct_vae.errors import ConfigError, InputError


class DownsampleND(PaddedConv):
    """A 3-wide convolution that halves sides: the step down of CompVis (Rombach et al. 2022).

    Output ``i`` sees voxels ``2i`` to ``2i + 2`` of a halved axis; of the causal axis ``2i - 1`` to
    ``2i + 1``.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: Channels of input ``(B, channels, *spatial)`` and output.
        strides: 1 or 2 for each axis, one of them 2.
        padding_mode: What lies beyond the border.
        causal_axis: Axis along which an output sees no voxel beyond its own two.

    Raises:
        ConfigError: If strides, padding mode and causal axis do not fit together.
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
        conv = Conv[Conv.CONV, spatial_dims](channels, channels, 3, stride=steps)
        low, high = [2 - step for step in steps], [1] * spatial_dims
        if causal_axis is not None:
            low[causal_axis], high[causal_axis] = low[causal_axis] + 1, 0
        super().__init__(conv, low, high, padding_mode)
        self.strides = steps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to ``spatial // strides``.

        Raises:
            InputError: If a side is too short.
        """
        _check_sides(x, self.strides, self.padding_mode)
        return super().forward(x)


class BlurPoolND(LocalModule):
    """Every other voxel of a map blurred by (1, 3, 3, 1) / 8, per channel (Zhang 2019).

    Output ``i`` of a halved axis sees voxels ``2i - 1`` to ``2i + 2``, centred on its own two; of
    the causal axis ``2i - 2`` to ``2i + 1``. There is nothing to train, and any number of channels
    will do.

    Args:
        spatial_dims: 1, 2 or 3.
        strides: 1 or 2 for each axis, one of them 2; an axis of stride 1 is not blurred.
        padding_mode: What lies beyond the border.
        causal_axis: Axis along which an output sees no voxel beyond its own two.

    Raises:
        ConfigError: If strides, padding mode and causal axis do not fit together.
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
            InputError: If a side is too short.
        """
        _check_sides(x, self.strides, self.padding_mode)
        return self._blurred(pad(x, self.low, self.high, self.padding_mode))

    def reach(self) -> Reach:
        """Two slices and one on either side, or one slice of an axis that is not halved."""
        step = self.strides[0]
        return Reach(3 * step - 2, step, self.low[0], self.high[0], self.padding_mode)

    def ready(self) -> Ready:
        """Pad the other axes and blur."""
        low, high = (0, *self.low[1:]), (0, *self.high[1:])
        return lambda x: self._blurred(pad(x, low, high, self.padding_mode))

    def _blurred(self, x: torch.Tensor) -> torch.Tensor:
        for axis, step in enumerate(self.strides, start=2):
            x = _blur_and_halve(x, axis) if step == 2 else x
        return x


class BlurDownsampleND(ChainModule):
    """A 3-wide convolution, then every other voxel of its blurred result.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: Channels of input ``(B, channels, *spatial)`` and output.
        strides: 1 or 2 for each axis, one of them 2.
        padding_mode: What lies beyond the border.
        causal_axis: Axis along which an output sees no voxel beyond its own two.

    Raises:
        ConfigError: If strides, padding mode and causal axis do not fit together.
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
            InputError: If a side is too short.
        """
        _check_sides(x, self.blur.strides, self.blur.padding_mode)
        result: torch.Tensor = self.blur(self.conv(x))
        return result

    def parts(self) -> Sequence[nn.Module]:
        """The convolution and the blur."""
        return self.conv, self.blur


def step_strides(
    spatial_dims: int,
    strides: int | Sequence[int],
    padding_mode: PaddingMode,
    causal_axis: int | None,
) -> tuple[int, ...]:
    """The stride of each axis for a step between two levels.

    Raises:
        ConfigError: If a stride is neither 1 nor 2, if none is 2, if there is no such axis, or if
            the padding would let an output see what comes after it.
    """
    steps = per_axis(strides, spatial_dims)
    if 2 not in steps:
        raise ConfigError(f"strides {steps} change no side", "give at least one axis a stride of 2")
    check_causal_axis(causal_axis, spatial_dims)
    check_causal_padding(padding_mode, causal_axis)
    return steps


def _check_sides(x: torch.Tensor, strides: tuple[int, ...], padding_mode: PaddingMode) -> None:
    sides = tuple(x.shape[2:])
    if any(side < step for side, step in zip(sides, strides, strict=True)):
        raise InputError(f"sides {sides} are too short for strides {strides}", "pad the input")
    check_reflection(sides, padding_mode)


def check_reflection(sides: Sequence[int], padding_mode: PaddingMode) -> None:
    """Refuse to reflect where there is nothing beside the border.

    Raises:
        InputError: If ``padding_mode`` is ``reflect`` and a side is 1.
    """
    if padding_mode == "reflect" and min(sides) < 2:
        raise InputError(
            f"a side of 1 has nothing to reflect, got sides {tuple(sides)}",
            "choose another padding_mode, or larger inputs",
        )


def _blur_and_halve(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Weighted sums of four neighbours at steps of 2; ``n`` voxels become ``n // 2 - 1``."""
    # Four views and their sum: faster on a CPU than a convolution of one channel at a time.
    count = x.shape[axis] // 2 - 1
    before = (slice(None),) * axis
    a, b, c, d = (x[(*before, slice(i, i + 2 * count - 1, 2))] for i in range(4))
    return (a + d + 3 * (b + c)) / 8
