"""Fastest equivalent of a 3-D convolution for its shape and device."""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.receptive_field import Operator

# Float32 values in one vector register; with fewer channels, part of the register is unused.
_LANES = 16


def convolution(conv: nn.Module, padding: tuple[int, int, int]) -> Operator:
    """Return the fastest implementation of a 3-D convolution with the given zero padding.

    Args:
        conv: ``Conv3d`` without dilation and groups; its own padding is ignored.
        padding: Zeros added before and after each axis.

    Returns:
        Function from ``(B, C, *spatial)`` to ``(B, C', *spatial')``, both channels last in memory.
    """
    weight, bias = cast(torch.Tensor, conv.weight), cast("torch.Tensor | None", conv.bias)
    stride = cast("tuple[int, int, int]", conv.stride)
    sides = weight.shape[2:]
    if prod(sides) == 1 and prod(stride) == 1:
        flat = weight.flatten(1)
        return lambda x: functional.linear(x.movedim(1, -1), flat, bias).movedim(-1, 1)
    if not _is_plain_cpu(weight):
        return lambda x: functional.conv3d(x, weight, bias, stride, padding)
    across = sides[1] * sides[2]
    if weight.shape[1] == 1 and across <= _LANES and prod(stride) == 1:
        return _gathering(weight, bias, padding)
    if weight.shape[0] * across <= _LANES and prod(stride) == 1 and padding[1:] == _half(sides):
        return _scattering(weight, bias, padding[0])
    return lambda x: _one_dnn(x, weight, bias, stride, padding)


def _is_plain_cpu(weight: torch.Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )


def _one_dnn(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> torch.Tensor:
    # `conv3d` calls this for large inputs; for thin slabs it chooses a path ten times slower.
    return torch.mkldnn_convolution(x, weight, bias, padding, stride, (1, 1, 1), 1)


def _gathering(
    weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int, int]
) -> Operator:
    """Convolve a single input channel: neighbors within a slice become channels of a 1-D kernel."""
    rows, columns = weight.shape[3:]
    lines = weight.permute(0, 3, 4, 1, 2).flatten(1, 3)[..., None, None].contiguous()

    def run(x: torch.Tensor) -> torch.Tensor:
        wide = functional.pad(x, (padding[2], padding[2], padding[1], padding[1]))[:, 0]
        high, broad = wide.shape[2] - rows + 1, wide.shape[3] - columns + 1
        near = [
            wide[:, :, j : j + high, k : k + broad] for j in range(rows) for k in range(columns)
        ]
        channels = torch.stack(near, dim=-1).movedim(-1, 1)
        return _one_dnn(channels, lines, bias, (1, 1, 1), (padding[0], 0, 0))

    return run


def _scattering(weight: torch.Tensor, bias: torch.Tensor | None, padding: int) -> Operator:
    """Convolve to few output channels: a map per kernel position in a slice, then a shifted sum."""
    out, _, _, rows, columns = weight.shape
    lines = weight.permute(3, 4, 0, 1, 2).flatten(0, 2)[..., None, None].contiguous()
    places = [(j, k) for j in range(rows) for k in range(columns)]

    def run(x: torch.Tensor) -> torch.Tensor:
        maps = _one_dnn(x, lines, None, (1, 1, 1), (padding, 0, 0))
        result = maps.new_zeros(len(x), out, *maps.shape[2:])
        if bias is not None:
            result += bias.view(-1, 1, 1, 1)
        for part, (j, k) in zip(torch.split(maps, out, dim=1), places, strict=True):
            here, there = _overlap(j - rows // 2, x.shape[3])
            left, right = _overlap(k - columns // 2, x.shape[4])
            result[:, :, :, here, left] += part[:, :, :, there, right]
        return result

    return run


def _overlap(shift: int, side: int) -> tuple[slice, slice]:
    """Return the slices of the sum and of a map shifted by ``shift`` where both overlap."""
    here = slice(max(0, -shift), side - max(0, shift))
    return here, slice(here.start + shift, here.stop + shift)


def _half(sides: torch.Size) -> tuple[int, int]:
    return sides[1] // 2, sides[2] // 2
