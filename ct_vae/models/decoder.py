"""From latent to image."""

from __future__ import annotations

import torch
from torch import nn

from ct_vae.blocks.norm import AdaptiveNormND
from ct_vae.models.shape import Shape
from ct_vae.models.stages import Level, block_widths, middle


class _Up(Level):
    def __init__(self, shape: Shape, level: int, first: int, latent_channels: int) -> None:
        widths = block_widths(first, shape.channels[level], shape.decoder_blocks[level])
        super().__init__(shape, widths, shape.attention[level])
        if shape.adaptive:
            modulation = shape.conv(latent_channels, 2 * first, 1)
            self.adapt = AdaptiveNormND(shape.normalise(first), modulation)
        self._adaptive = shape.adaptive
        self.upsample = shape.upsample(level) if level else nn.Identity()

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        x = self.adapt(x, latent) if self._adaptive else x
        result: torch.Tensor = self.upsample(self.blocks(x))
        return result


class Decoder(nn.Module):
    """Convolution, middle, levels that double the sides, head: the encoder's mirror.

    Args:
        shape: Numbers of the network.
        in_channels: Channels of the latent.
        out_channels: Channels of the image.
        tanh_out: Whether the output goes through a hyperbolic tangent.
    """

    def __init__(self, shape: Shape, in_channels: int, out_channels: int, tanh_out: bool) -> None:
        super().__init__()
        top = shape.channels[-1]
        self.conv_in = shape.conv(in_channels, top)
        self.mid = middle(shape, shape.decoder_mid)
        # Level i comes from level i + 1; the coarsest comes from the middle.
        before = (*shape.channels[1:], top)
        levels = range(len(shape.channels))
        self.up = nn.ModuleList([_Up(shape, i, before[i], in_channels) for i in levels])
        self.norm_out = shape.normalise(shape.channels[0])
        self.nonlinearity = shape.activation()
        self.conv_out = shape.last(out_channels)
        self.skip = shape.synthesis(in_channels, out_channels)
        self.refine = shape.refine(out_channels)
        self.activation = shape.output(tanh_out)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial * factor)``."""
        result: torch.Tensor = self.activation(self.raw(z))
        return result

    def raw(self, z: torch.Tensor) -> torch.Tensor:
        """What `forward` gives, before the output activation."""
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h, z)
        image = self.conv_out(self.nonlinearity(self.norm_out(h)))
        result: torch.Tensor = self.refine(image if self.skip is None else self.skip(z) + image)
        return result
