"""Normalisation of feature maps."""

from __future__ import annotations

from typing import cast

from monai.networks.layers.factories import Norm
from torch import nn

from ct_vae.errors import ConfigError

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
