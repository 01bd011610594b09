"""The residual block of the Stable Diffusion autoencoder."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.style import BlockStyle


class ResBlockND(nn.Module):
    """Residual block: twice normalization, SiLU and 3-wide convolution, added to the input.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        in_channels: Channels of the input ``(B, in_channels, *spatial)``.
        out_channels: Channels of the output; if they differ from the input's, a 1-wide convolution
            projects the shortcut.
        style: Settings of convolutions and normalization layers; optional.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        style: BlockStyle | None = None,
    ) -> None:
        super().__init__()
        style = style or BlockStyle()
        self.norm1 = style.normalize(spatial_dims, in_channels)
        self.conv1 = style.block_conv(spatial_dims, in_channels, out_channels)
        inner = style.normalize(spatial_dims, out_channels) if style.inner_norm else nn.Identity()
        self.norm2 = inner
        self.dropout = nn.Dropout(style.dropout)
        self.conv2 = style.block_conv(spatial_dims, out_channels, out_channels)
        self.nin_shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else style.block_conv(spatial_dims, in_channels, out_channels, kernel=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial)``."""
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        result: torch.Tensor = self.nin_shortcut(x) + h
        return result
