"""Decoder from latents to images."""

from __future__ import annotations

import torch
from torch import nn

from ct_vae.models.layers import Layers
from ct_vae.models.stages import Level, block_widths, middle


class _Up(Level):
    def __init__(self, layers: Layers, level: int, first: int) -> None:
        config = layers.config
        widths = block_widths(first, config.widths[level], config.decoder_level_blocks[level])
        super().__init__(layers, widths, config.level_attention[level])
        self.adapt = layers.modulated_norm(first)
        self.upsample = layers.upsample(level) if level else nn.Identity()

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        x = x if self.adapt is None else self.adapt(x, latent)
        result: torch.Tensor = self.upsample(self.blocks(x))
        return result


class Decoder(nn.Module):
    """Decoder: convolution, middle stage, upsampling levels and output convolution.

    Args:
        layers: Factory of the layers of the network.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        config = layers.config
        top = config.widths[-1]
        self.conv_in = layers.conv(config.z_channels, top)
        self.mid = middle(layers, config.decoder_mid)
        # Level i receives the output of level i + 1, the coarsest that of the middle stage.
        before = (*config.widths[1:], top)
        levels = range(len(config.widths))
        self.up = nn.ModuleList([_Up(layers, level, before[level]) for level in levels])
        self.norm_out = layers.normalize(config.widths[0])
        self.nonlinearity = layers.activation()
        self.conv_out = layers.last()
        self.skip = layers.synthesis()
        self.refine = layers.refine()
        self.activation = layers.output()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map ``(B, z_channels, *spatial)`` to ``(B, out_channels, *spatial * factor)``."""
        result: torch.Tensor = self.activation(self.raw(z))
        return result

    def raw(self, z: torch.Tensor) -> torch.Tensor:
        """Compute the output of `forward` before the output activation."""
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h, z)
        image = self.conv_out(self.nonlinearity(self.norm_out(h)))
        result: torch.Tensor = self.refine(image if self.skip is None else self.skip(z) + image)
        return result
