"""Levels and the middle of encoder and decoder, and the numbers that shape both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.resblock import ResBlockND
from ct_vae.errors import ConfigError


@dataclass(frozen=True)
class Shape:
    """What encoder and decoder have in common.

    Attributes:
        spatial_dims: 1, 2 or 3.
        stem: Channels of the first convolution.
        channels: Channels of each level, the finest first; sides halve from one to the next.
        num_res_blocks: Residual blocks per level of the encoder; the decoder has one more.
        attention: For each level, whether its blocks are followed by attention.
        mid_attn: Whether the middle has attention.
        norm_groups: Groups of every normalisation; ``None`` chooses by width.
        dropout: Of every residual block.

    Raises:
        ConfigError: If a number is out of its range.
    """

    spatial_dims: int
    stem: int
    channels: tuple[int, ...]
    num_res_blocks: int
    attention: tuple[bool, ...]
    mid_attn: bool
    norm_groups: int | None
    dropout: float

    def __post_init__(self) -> None:
        if self.spatial_dims not in (1, 2, 3):
            raise ConfigError(f"spatial_dims is 1, 2 or 3, got {self.spatial_dims}")
        if not self.channels or min(self.stem, *self.channels) < 1:
            raise ConfigError(
                f"a network needs at least one level and positive widths, got a first convolution "
                f"of {self.stem} and levels of {self.channels}",
                "check base_ch, ch_mult and down_channels",
            )
        if self.num_res_blocks < 1:
            raise ConfigError(f"num_res_blocks is at least 1, got {self.num_res_blocks}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is a share from 0 to below 1, got {self.dropout}")

    @property
    def factor(self) -> int:
        """Voxels per latent voxel along an axis."""
        return int(2 ** (len(self.channels) - 1))

    def res_block(self, in_channels: int, out_channels: int) -> ResBlockND:
        """A residual block of this network."""
        return ResBlockND(
            self.spatial_dims, in_channels, out_channels, self.norm_groups, self.dropout
        )

    def attend(self, channels: int) -> SpatialSelfAttention:
        """An attention block of this network."""
        return SpatialSelfAttention(self.spatial_dims, channels, self.norm_groups)


class Level(nn.Module):
    """Residual blocks at one size, each followed by attention where the level has it.

    Args:
        shape: Of the network.
        widths: Channels going in and coming out of each block in turn.
        attention: Whether the blocks are followed by attention.
    """

    def __init__(self, shape: Shape, widths: Sequence[tuple[int, int]], attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList([shape.res_block(a, b) for a, b in widths])
        self.attn = nn.ModuleList([shape.attend(b) for _, b in widths] if attention else [])

    def blocks(self, x: torch.Tensor) -> torch.Tensor:
        """Run the blocks on ``(B, channels, *spatial)``."""
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return x


class Middle(nn.Module):
    """The bottleneck: block, attention, block.

    Args:
        shape: Of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.channels[-1]
        self.block_1 = shape.res_block(width, width)
        self.attn_1 = shape.attend(width) if shape.mid_attn else nn.Identity()
        self.block_2 = shape.res_block(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to the same shape."""
        result: torch.Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return result


def block_widths(first: int, width: int, count: int) -> list[tuple[int, int]]:
    """Channels in and out of ``count`` blocks, of which the first changes the width."""
    return [(first if i == 0 else width, width) for i in range(count)]
