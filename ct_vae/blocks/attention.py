"""Self-attention over all positions of a feature map."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.conv import ConvND
from ct_vae.blocks.style import BlockStyle


class SpatialSelfAttention(nn.Module):
    """Single-head self-attention over all positions of a feature map, with a residual connection.

    Uses PyTorch's scaled dot-product attention, which does not store the matrix of all pairs.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3.
        channels: Channels of input and output ``(B, channels, *spatial)``.
        style: Settings of the normalization layer; defaults to group normalization.
    """

    def __init__(self, spatial_dims: int, channels: int, style: BlockStyle | None = None) -> None:
        super().__init__()
        self.norm = (style or BlockStyle()).normalize(spatial_dims, channels)
        self.q = ConvND(spatial_dims, channels, channels, kernel=1)
        self.k = ConvND(spatial_dims, channels, channels, kernel=1)
        self.v = ConvND(spatial_dims, channels, channels, kernel=1)
        self.proj_out = ConvND(spatial_dims, channels, channels, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply self-attention to ``(B, channels, *spatial)``."""
        h = self.norm(x)
        q, k, v = (self._tokens(layer(h)) for layer in (self.q, self.k, self.v))
        attended = functional.scaled_dot_product_attention(q, k, v)
        result: torch.Tensor = x + self.proj_out(attended[:, 0].mT.reshape(x.shape))
        return result

    @staticmethod
    def _tokens(x: torch.Tensor) -> torch.Tensor:
        # (B, heads, positions, channels); the blocked kernels require contiguous memory.
        return x.flatten(2).mT.unsqueeze(1).contiguous()
