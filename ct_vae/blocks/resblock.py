"""The residual block of the Stable Diffusion autoencoder."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND
from ct_vae.blocks.norm import group_norm


class ResBlockND(nn.Module):
    """Twice normalisation, SiLU and 3-wide convolution, added to the input.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: Channels of the input ``(B, in_channels, *spatial)``.
        out_channels: Channels of the output; where they differ, a 1-wide convolution carries the
            input across.
        norm_groups: Groups of the normalisation; ``None`` means the largest divisor up to 32.
        dropout: Share of values dropped before the second convolution.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        norm_groups: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(spatial_dims, in_channels, norm_groups)
        self.conv1 = ConvND(spatial_dims, in_channels, out_channels)
        self.norm2 = group_norm(spatial_dims, out_channels, norm_groups)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = ConvND(spatial_dims, out_channels, out_channels)
        self.nin_shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else ConvND(spatial_dims, in_channels, out_channels, kernel=1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, in_channels, *spatial)`` to ``(B, out_channels, *spatial)``."""
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        result: torch.Tensor = self.nin_shortcut(x) + h
        return result
