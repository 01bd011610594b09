"""From image to latent parameters."""

from __future__ import annotations

import torch
from torch import nn

from ct_vae.models.shape import Shape
from ct_vae.models.stages import Level, block_widths, middle


class _Down(Level):
    def __init__(self, shape: Shape, level: int, first: int) -> None:
        widths = block_widths(first, shape.channels[level], shape.encoder_blocks[level])
        super().__init__(shape, widths, shape.attention[level])
        last = level == len(shape.channels) - 1
        self.downsample = nn.Identity() if last else shape.downsample(level)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.downsample(self.blocks(x))
        return result


class Encoder(nn.Module):
    """Convolution, levels that halve the sides, middle, head (Rombach et al. 2022).

    Args:
        shape: Numbers of the network.
        in_channels: Channels of the image.
        out_channels: Channels of the latent parameters.
    """

    def __init__(self, shape: Shape, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_in = shape.first(in_channels)
        before = (shape.stem, *shape.channels)
        self.down = nn.ModuleList(
            [_Down(shape, level, before[level]) for level in range(len(shape.channels))]
        )
        self.mid = middle(shape, shape.encoder_mid)
        width = shape.channels[-1]
        self.norm_out = shape.normalise(width)
        self.nonlinearity = shape.activation()
        self.conv_out = shape.conv(width, out_channels, shape.head_kernel)
        self.skip = shape.analysis(in_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial / factor)``."""
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = self.nonlinearity(self.norm_out(self.mid(h)))
        result: torch.Tensor = self.conv_out(h)
        return result if self.skip is None else self.skip(x) + result
