"""Normalisation of feature maps."""

from __future__ import annotations

from typing import Literal, cast

import torch
from monai.networks.layers.factories import Norm
from torch import nn
from torch.nn import functional

from ct_vae.errors import ConfigError

NormKind = Literal["group", "rms", "layer"]
MOST_GROUPS = 32
EPS = 1e-6


def group_count(channels: int, norm_groups: int | None) -> int:
    """The given number of groups, or the largest divisor of ``channels`` up to 32.

    Raises:
        ConfigError: If the given number does not divide the channels.
    """
    if norm_groups is None:
        return next(n for n in range(min(MOST_GROUPS, channels), 0, -1) if channels % n == 0)
    if norm_groups < 1 or channels % norm_groups:
        raise ConfigError(
            f"norm_groups {norm_groups} does not divide {channels} channels",
            "choose a divisor of every width, or leave it out",
        )
    return norm_groups


def group_norm(spatial_dims: int, channels: int, norm_groups: int | None = None) -> nn.Module:
    """Group normalisation (Wu and He 2018) with eps 1e-6, as Stable Diffusion has it."""
    groups = group_count(channels, norm_groups)
    kind = Norm[Norm.GROUP, spatial_dims]
    return cast(nn.Module, kind(num_groups=groups, num_channels=channels, eps=EPS))


class RMSNormND(nn.Module):
    """Every voxel divided by the root of the mean square of its channels (Zhang, Sennrich 2019).

    A voxel's result depends on no other voxel, so that tiles agree with the whole.

    Args:
        channels: Of input and output ``(B, channels, *spatial)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``(B, channels, *spatial)``."""
        # Autocast hands over half precision beside float32 weights.
        rows = x.movedim(1, -1).to(self.weight.dtype)
        return functional.rms_norm(rows, self.weight.shape, self.weight, EPS).movedim(-1, 1)


class LayerNormND(nn.Module):
    """Every voxel brought to mean 0 and variance 1 over its channels (Ba et al. 2016).

    Args:
        channels: Of input and output ``(B, channels, *spatial)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``(B, channels, *spatial)``."""
        rows = x.movedim(1, -1).to(self.weight.dtype)
        normed = functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, EPS)
        return normed.movedim(-1, 1)


class AdaptiveNormND(nn.Module):
    """Normalisation whose scale and shift are read off a latent, voxel by voxel.

    As the decoder of MAGVIT-v2 has it (Yu et al. 2023, section 3.2), but with one scale and shift
    for each latent voxel: pooled ones would make every voxel depend on the whole volume.

    Args:
        norm: Normalisation of ``(B, channels, *spatial)``.
        modulation: From the latent to ``2 * channels``: scales less one, then shifts.
    """

    def __init__(self, norm: nn.Module, modulation: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = modulation
        # At first nothing is modulated.
        for parameter in modulation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Normalise ``(B, channels, *spatial)`` by a latent of sides that divide ``spatial``."""
        # Repeating voxels and a 1-wide convolution may change places; small maps are cheaper.
        modulation = functional.interpolate(self.modulation(latent), size=x.shape[2:])
        scale, shift = modulation.chunk(2, dim=1)
        result: torch.Tensor = self.norm(x) * (1 + scale) + shift
        return result
