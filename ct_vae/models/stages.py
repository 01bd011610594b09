"""Levels and middle stages of encoder and decoder, and the list of their feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ct_vae.config.model import ModelConfig
from ct_vae.models.layers import Layers


class Level(nn.Module):
    """Residual blocks of one level, each optionally followed by attention.

    Args:
        layers: Factory of the layers of the network.
        widths: Input and output channels of each block.
        attention: If true, blocks are followed by attention.
    """

    def __init__(self, layers: Layers, widths: Sequence[tuple[int, int]], attention: bool) -> None:
        super().__init__()
        self._checkpointing = layers.config.checkpointing
        self.block = nn.ModuleList([layers.res_block(a, b) for a, b in widths])
        self.attn = nn.ModuleList([layers.attend(b) for _, b in widths] if attention else [])

    def blocks(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the blocks to ``(B, channels, *spatial)``."""
        twice = self._checkpointing and self.training
        for i, block in enumerate(self.block):
            x = _run(block, x, twice)
            if len(self.attn):
                x = _run(self.attn[i], x, twice)
        return x


class Middle(nn.Module):
    """Middle stage: residual block, attention, residual block.

    Args:
        layers: Factory of the layers of the network.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self._checkpointing = layers.config.checkpointing
        width = layers.config.widths[-1]
        self.block_1 = layers.res_block(width, width)
        self.attn_1 = layers.attend(width) if layers.config.mid_attn else nn.Identity()
        self.block_2 = layers.res_block(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, channels, *spatial)`` to the same shape."""
        twice = self._checkpointing and self.training
        for block in (self.block_1, self.attn_1, self.block_2):
            x = _run(block, x, twice)
        return x


def middle(layers: Layers, present: bool) -> nn.Module:
    """Create the middle stage, or an identity if there is none."""
    return Middle(layers) if present else nn.Identity()


def block_widths(first: int, width: int, count: int) -> list[tuple[int, int]]:
    """Return the input and output channels of ``count`` blocks; the first changes the channels."""
    return [(first if i == 0 else width, width) for i in range(count)]


def _run(block: nn.Module, x: torch.Tensor, twice: bool) -> torch.Tensor:
    """Apply a block, with activation checkpointing if requested."""
    if twice and torch.is_grad_enabled():
        return cast(torch.Tensor, checkpoint(block, x, use_reentrant=False))
    return cast(torch.Tensor, block(x))


@dataclass(frozen=True)
class Stage:
    """Feature map of a network; ``sides`` is its size for an image of side ``resolution``."""

    name: str
    channels: int
    factor: tuple[int, ...]
    sides: tuple[int, ...]
    attention: bool


def feature_maps(config: ModelConfig) -> list[Stage]:
    """List the feature maps after the blocks of every level, from image to latent and back."""

    def row(name: str, channels: int, level: int, attention: bool) -> Stage:
        factor = config.factors[level]
        return Stage(
            name, channels, factor, tuple(config.resolution // f for f in factor), attention
        )

    levels = list(enumerate(zip(config.widths, config.level_attention, strict=True)))
    down = [row(f"encoder.down.{i}", width, i, attn) for i, (width, attn) in levels]
    up = [row(f"decoder.up.{i}", width, i, attn) for i, (width, attn) in reversed(levels)]
    last, bottom = len(levels) - 1, config.widths[-1]
    sides = (("encoder.mid", config.encoder_mid), ("decoder.mid", config.decoder_mid))
    before, after = ([row(n, bottom, last, config.mid_attn)] if here else [] for n, here in sides)
    return [*down, *before, row("latent", config.latent_channels, last, False), *after, *up]
