"""From image to latent parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND
from ct_vae.blocks.norm import group_norm
from ct_vae.blocks.resample import DownsampleND
from ct_vae.models.stages import Level, Middle, Shape, block_widths


class _Down(Level):
    def __init__(self, shape: Shape, level: int, first: int) -> None:
        width = shape.channels[level]
        widths = block_widths(first, width, shape.num_res_blocks)
        super().__init__(shape, widths, shape.attention[level])
        last = level == len(shape.channels) - 1
        self.downsample = nn.Identity() if last else DownsampleND(shape.spatial_dims, width)

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
        self.conv_in = ConvND(shape.spatial_dims, in_channels, shape.stem)
        before = (shape.stem, *shape.channels)
        self.down = nn.ModuleList(
            [_Down(shape, level, before[level]) for level in range(len(shape.channels))]
        )
        self.mid = Middle(shape)
        width = shape.channels[-1]
        self.norm_out = group_norm(shape.spatial_dims, width, shape.norm_groups)
        self.conv_out = ConvND(shape.spatial_dims, width, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial / factor)``."""
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = functional.silu(self.norm_out(self.mid(h)))
        result: torch.Tensor = self.conv_out(h)
        return result
