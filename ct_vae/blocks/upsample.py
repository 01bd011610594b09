"""Upsampling layers that double the spatial size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND, PaddingMode, pad
from ct_vae.blocks.downsample import check_reflection, step_strides
from ct_vae.blocks.memory_format import CHANNELS_LAST
from ct_vae.blocks.patch import DepthToSpaceND, depth_to_space
from ct_vae.blocks.receptive_field import ChainModule, LocalModule, Operator, ReceptiveField
from ct_vae.errors import ConfigError

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UpsampleND(ChainModule):
    """Upsampling followed by a 3-wide convolution, as in CompVis (Rombach et al. 2022).

    Nearest-neighbor upsampling and convolution are fused into one operation on the coarse grid that
    gives the same result up to rounding (see `fused_kernel`), unless the padding mode is
    ``reflect`` or voxels are interpolated.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        channels: Channels of input ``(B, channels, *spatial)`` and output.
        strides: Factor of each axis, 1 or 2, at least one of them 2; defaults to 2.
        padding_mode: Padding of the border; defaults to ``zeros``.
        mode: Interpolation: ``nearest`` (the default) repeats voxels, ``linear`` interpolates
            between voxel centers, as in the decoder of MAISI.

    Raises:
        ConfigError: If the strides or the mode are invalid.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        strides: int | Sequence[int] = 2,
        padding_mode: PaddingMode = "zeros",
        mode: Literal["nearest", "linear"] = "nearest",
    ) -> None:
        super().__init__()
        if mode not in ("nearest", "linear"):
            raise ConfigError(f"an upsampling mode is nearest or linear, got {mode!r}")
        self.strides = step_strides(spatial_dims, strides, padding_mode, None)
        self.padding_mode = padding_mode
        self.conv = ConvND(spatial_dims, channels, channels, padding_mode=padding_mode)
        self._interpolation = _LINEAR[spatial_dims] if mode == "linear" else mode
        self._fusible = mode == "nearest" and padding_mode != "reflect"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to ``spatial * strides``.

        Raises:
            InputError: If a spatial size is too small for reflection padding.
        """
        if self._fusible:
            return self._fused(x)
        finer = _interpolated(x, self.strides, self._interpolation)
        check_reflection(finer.shape[2:], self.padding_mode)
        result: torch.Tensor = self.conv(finer)
        return result

    def parts(self) -> Sequence[nn.Module]:
        """Return the fused operation, or interpolation and convolution if they cannot be fused."""
        if self._fusible:
            return [_FusedUpsample(self)]
        return [_Interpolation(self.strides, self._interpolation), self.conv]

    def _fused(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = cast(torch.Tensor, self.conv.weight), cast(torch.Tensor, self.conv.bias)
        kernel, sides = fused_kernel(weight, self.strides), x.shape[2:]
        padded = self.padding_mode != "zeros"
        if padded:
            # Padding with copies and repeating voxels commute.
            x = pad(x, (1,) * len(sides), (1,) * len(sides), self.padding_mode)
        if _is_channels_last(x):
            # A transposed convolution is faster with channels last and slower otherwise.
            beyond = [1 + step * padded for step in self.strides]
            return _TRANSPOSED[len(sides)](
                x, _transposed(kernel), bias, stride=self.strides, padding=beyond
            )
        kernels = torch.cat([kernel[every] for every, _ in _subvoxels(self.strides, sides)])
        biases = bias.repeat(prod(self.strides))
        maps = _CONV[len(sides)](x, kernels, biases, padding=0 if padded else 1)
        return _interleaved(maps, self.strides, sides)


class SubvoxelUpsampleND(ChainModule):
    """3-wide convolution to the values of all sub-voxels, followed by a pixel shuffle.

    Channel ``c * prod(strides) + s`` of the convolution becomes sub-voxel ``s`` of channel ``c``;
    sub-voxels are counted with the last axis varying fastest. The sub-voxels of a voxel are
    initialized equally, so that the initial output has no checkerboard pattern (ICNR, Aitken et al.
    2017).

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        channels: Channels of input ``(B, channels, *spatial)`` and output.
        strides: Factor of each axis, 1 or 2, at least one of them 2; defaults to 2.
        padding_mode: Padding of the border; defaults to ``zeros``.
        causal_axis: Axis along which an output depends on no later voxel; optional.

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
        self.strides = step_strides(spatial_dims, strides, padding_mode, causal_axis)
        self.padding_mode = padding_mode
        count = prod(self.strides)
        self.conv = ConvND(
            spatial_dims,
            channels,
            channels * count,
            padding_mode=padding_mode,
            causal_axis=causal_axis,
        )
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[::count].repeat_interleave(count, dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to ``spatial * strides``.

        Raises:
            InputError: If a spatial size is too small for reflection padding.
        """
        check_reflection(x.shape[2:], self.padding_mode)
        return depth_to_space(self.conv(x), self.strides)

    def parts(self) -> Sequence[nn.Module]:
        """Return the convolution and the pixel shuffle."""
        return self.conv, DepthToSpaceND(self.strides)


class _FusedUpsample(LocalModule):
    """Fused form of `UpsampleND`: each coarse slice and its two neighbors give the fine slices."""

    def __init__(self, upsample: UpsampleND) -> None:
        super().__init__()
        self.upsample = upsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.upsample(x)
        return result

    def receptive_field(self) -> ReceptiveField:
        step, mode = self.upsample.strides[0], self.upsample.padding_mode
        return ReceptiveField(kernel=3, low=1, high=1, mode=mode, repeats=step)

    def unpadded_operator(self) -> Operator:
        conv, mode = self.upsample.conv, self.upsample.padding_mode
        first, *others = self.upsample.strides
        weight, bias = cast(torch.Tensor, conv.weight), cast(torch.Tensor, conv.bias)
        kernel = _transposed(fused_kernel(weight, self.upsample.strides)).contiguous()
        width = 0 if mode == "zeros" else 1
        beyond = (1 + first, *(1 + step * width for step in others))

        def run(x: torch.Tensor) -> torch.Tensor:
            x = pad(x, (0, width, width), (0, width, width), mode) if width else x
            return functional.conv_transpose3d(x, kernel, bias, (first, *others), beyond)

        return run


class _Interpolation(LocalModule):
    """Upsampling by repeating voxels or by interpolating between their centers."""

    def __init__(self, strides: Sequence[int], mode: str) -> None:
        super().__init__()
        self.strides, self.mode = tuple(strides), mode
        self._blends = mode != "nearest" and strides[0] == 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _interpolated(x, self.strides, self.mode)

    def receptive_field(self) -> ReceptiveField:
        if not self._blends:
            return ReceptiveField(repeats=self.strides[0])
        # Interpolation repeats the border voxel beyond the border.
        return ReceptiveField(kernel=3, low=1, high=1, mode="replicate", repeats=2)

    def unpadded_operator(self) -> Operator:
        return (lambda x: self(x)[:, :, 2:-2]) if self._blends else self


def _interpolated(x: torch.Tensor, strides: Sequence[int], mode: str) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=[float(step) for step in strides], mode=mode)


def fused_kernel(weight: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Return the kernel on the coarse grid that repeats voxels and convolves them with ``weight``.

    Along an axis of stride 2, voxel ``j`` covers voxels ``2j`` and ``2j + 1`` of the fine grid.
    Taps ``(a, b, c)`` therefore give ``a x[j - 1] + (b + c) x[j]`` at the first and ``(a + b) x[j]
    + c x[j + 1]`` at the second: 27 multiplications become 8 in 3-D.

    Args:
        weight: Kernel ``(out, in, 3, ...)`` on the fine grid, 3 wide along every axis.
        strides: Stride of each axis, 1 or 2.

    Returns:
        Kernel ``(out, in, ...)``: ``(a, a + b, b + c, c)`` along axes of stride 2, of which every
        other tap belongs to one of the two sub-voxels; unchanged along axes of stride 1.
    """
    # Summing in half precision would round every tap once more.
    kernel = weight.to(torch.promote_types(weight.dtype, torch.float32))
    for axis, step in enumerate(strides, start=2):
        if step == 2:
            a, b, c = kernel.chunk(3, dim=axis)
            kernel = torch.cat([a, a + b, b + c, c], dim=axis)
    return kernel.to(weight.dtype)


def _transposed(kernel: torch.Tensor) -> torch.Tensor:
    """Convert a kernel to the layout of transposed convolutions: swapped channels, flipped axes."""
    return kernel.flip(tuple(range(2, kernel.ndim))).transpose(0, 1)


def _subvoxels(
    strides: Sequence[int], sides: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Yield, for each sub-voxel, its index in the taps or fine voxels and its index in its own map.

    A 2-wide kernel on a padded side of ``n + 2`` gives ``n + 1`` values. The first sub-voxel uses
    all but the last of them, the second all but the first.
    """
    whole = slice(None), slice(None)
    for parts in product(*map(range, strides)):
        every = [slice(part, None, step) for part, step in zip(parts, strides, strict=True)]
        own = [slice(part, part + side) for part, side in zip(parts, sides, strict=True)]
        yield (*whole, *every), (*whole, *own)


def _interleaved(maps: torch.Tensor, strides: Sequence[int], sides: Sequence[int]) -> torch.Tensor:
    """Interleave the maps of all sub-voxels, which are stacked along the channel axis."""
    finer = [step * side for step, side in zip(strides, sides, strict=True)]
    result = maps.new_empty((len(maps), maps.shape[1] // prod(strides), *finer))
    parts = maps.chunk(prod(strides), dim=1)
    for part, (every, own) in zip(parts, _subvoxels(strides, sides), strict=True):
        result[every] = part[own]
    return result


def _is_channels_last(x: torch.Tensor) -> bool:
    layout = CHANNELS_LAST.get(x.ndim - 2)
    return layout is not None and x.is_contiguous(memory_format=layout) and not x.is_contiguous()
