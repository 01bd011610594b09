"""From latent to image."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND
from ct_vae.blocks.norm import group_norm
from ct_vae.blocks.resample import UpsampleND
from ct_vae.models.stages import Level, Middle, Shape, block_widths


class _Up(Level):
    def __init__(self, shape: Shape, level: int, first: int) -> None:
        width = shape.channels[level]
        widths = block_widths(first, width, shape.num_res_blocks + 1)
        super().__init__(shape, widths, shape.attention[level])
        self.upsample = UpsampleND(shape.spatial_dims, width) if level else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
        self.conv_in = ConvND(shape.spatial_dims, in_channels, top)
        self.mid = Middle(shape)
        # Level i comes from level i + 1; the coarsest comes from the middle.
        before = (*shape.channels[1:], top)
        self.up = nn.ModuleList(
            [_Up(shape, level, before[level]) for level in range(len(shape.channels))]
        )
        self.norm_out = group_norm(shape.spatial_dims, shape.channels[0], shape.norm_groups)
        self.conv_out = ConvND(shape.spatial_dims, shape.channels[0], out_channels)
        self.activation = nn.Tanh() if tanh_out else nn.Identity()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial * factor)``."""
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        h = self.conv_out(functional.silu(self.norm_out(h)))
        result: torch.Tensor = self.activation(h)
        return result
