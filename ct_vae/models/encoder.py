"""Encoder from images to latents."""

from __future__ import annotations

import torch
from torch import nn

from ct_vae.models.layers import Layers
from ct_vae.models.stages import Level, block_widths, middle


class _Down(Level):
    def __init__(self, layers: Layers, level: int, first: int) -> None:
        config = layers.config
        widths = block_widths(first, config.widths[level], config.encoder_blocks[level])
        super().__init__(layers, widths, config.level_attention[level])
        last = level == len(config.widths) - 1
        self.downsample = nn.Identity() if last else layers.downsample(level)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.downsample(self.blocks(x))
        return result


class Encoder(nn.Module):
    """Encoder: convolution, downsampling levels, middle stage and output (Rombach et al. 2022).

    Args:
        layers: Factory of the layers of the network.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        config = layers.config
        self.conv_in = layers.first()
        before = (config.conv_in_channels, *config.widths)
        levels = range(len(config.widths))
        self.down = nn.ModuleList([_Down(layers, level, before[level]) for level in levels])
        self.mid = middle(layers, config.encoder_mid)
        self.norm_out = layers.normalize(config.widths[-1])
        self.nonlinearity = layers.activation()
        self.conv_out = layers.head()
        self.skip = layers.analysis()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, encoder_channels, *spatial / factor)``."""
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = self.nonlinearity(self.norm_out(self.mid(h)))
        result: torch.Tensor = self.conv_out(h)
        return result if self.skip is None else self.skip(x) + result
