"""Normalisation of feature maps."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from ct_vae.blocks.receptive_field import PerSlice
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


def group_norm(
    spatial_dims: int,  # noqa: ARG001 - as every layer of a network is asked for
    channels: int,
    norm_groups: int | None = None,
) -> nn.Module:
    """Group normalisation (Wu and He 2018) with eps 1e-6, as Stable Diffusion has it."""
    return GroupNormND(group_count(channels, norm_groups), channels, eps=EPS)


class GroupNormND(nn.GroupNorm):
    """Group normalisation whose sums keep their digits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``(B, channels, *spatial)``."""
        # Where channels lie together, PyTorch adds up float32 one by one on a CPU: over two million
        # voxels that is off by 1e-4, elsewhere by 1e-7. Training patches are small, and copies of
        # them would take time.
        exact = x.device.type == "cpu" and not torch.is_grad_enabled()
        return super().forward(x.contiguous() if exact else x)


class RMSNormND(PerSlice):
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


class LayerNormND(PerSlice):
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
        self.modulate = Modulate()
        # At first nothing is modulated.
        for parameter in modulation.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """Normalise ``(B, channels, *spatial)`` by a latent of sides that divide ``spatial``."""
        # Repeating voxels and a 1-wide convolution may change places; small maps are cheaper.
        result: torch.Tensor = self.modulate(self.norm(x), self.modulation(latent))
        return result


class Modulate(PerSlice):
    """Scale and shift of every voxel by a coarser map, whose voxels are repeated."""

    def forward(self, x: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:
        """Modulate ``(B, channels, *spatial)`` by ``(B, 2 * channels, ...)``.

        Sides of the latter divide ``spatial``; it holds scales less one, then shifts.
        """
        scale, shift = functional.interpolate(modulation, size=x.shape[2:]).chunk(2, dim=1)
        return x * (1 + scale) + shift
