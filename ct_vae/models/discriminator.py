"""The network that tells reconstructions from real images, patch by patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import nn

from ct_vae.blocks.conv import ConvND, per_axis
from ct_vae.blocks.downsample import BlurPoolND
from ct_vae.blocks.norm import group_count, group_norm
from ct_vae.config.architecture import factors_of
from ct_vae.errors import ConfigError, InputError

DiscriminatorNorm = Literal["group", "instance"]
_SLOPE = 0.2


@dataclass(frozen=True, eq=False)
class DiscriminatorOutput:
    """What a discriminator says of images.

    Attributes:
        logits: ``(B, 1, *spatial / strides)``: above 0 where a patch looks real.
        features: Outputs of the stem and of each level, finest first, for feature matching.
    """

    logits: torch.Tensor
    features: tuple[torch.Tensor, ...]


class PatchDiscriminator(nn.Module):
    """Convolutions and blurred halvings, with one logit per patch (Isola et al. 2017).

    As in MAGVIT (Yu et al. 2023), maps are blurred before they are halved, so that a verdict does
    not hinge on where the grid of voxels falls (Zhang 2019). There is no pooling to one number
    and no batch norm: a verdict depends on its own image, not on the batch.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: Channels of the images.
        base_ch: Channels of the stem; each level doubles them, up to eight times as many.
        levels: Number of halvings.
        norm: ``group``: groups as everywhere in this package; ``instance``: every channel alone.
        strides: Of each level, one number or one for each axis, such as (2, 2, 1) for thick
            slices; ``None`` means 2 everywhere.

    Raises:
        ConfigError: If the numbers do not fit together.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        base_ch: int = 64,
        levels: int = 3,
        norm: DiscriminatorNorm = "group",
        strides: Sequence[int | Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        steps = (2,) * levels if strides is None else tuple(strides)
        if levels < 1 or len(steps) != levels:
            raise ConfigError(
                f"a discriminator has at least 1 level and strides for each, got {levels} levels "
                f"and strides {steps}"
            )
        if norm not in ("group", "instance"):
            raise ConfigError(f"the norm of a discriminator is group or instance, got {norm!r}")
        self.in_channels = in_channels
        axes = [per_axis(step, spatial_dims) for step in steps]
        self._total = factors_of(axes, (1,) * spatial_dims)[-1]
        self.stem = nn.Sequential(ConvND(spatial_dims, in_channels, base_ch), nn.LeakyReLU(_SLOPE))
        self.levels = nn.ModuleList()
        width = base_ch
        for number, step in enumerate(steps, start=1):
            wider = base_ch * min(2**number, 8)
            # One group per channel is what an instance norm is.
            groups = wider if norm == "instance" else group_count(wider, None)
            # Halved before it is widened, as in StyleGAN2 (Karras et al. 2020): an eighth of the
            # multiplications in 3-D.
            level = nn.Sequential(
                BlurPoolND(spatial_dims, step),
                # An offset of every channel is what such a norm takes away.
                ConvND(spatial_dims, width, wider, bias=groups < wider),
                group_norm(spatial_dims, wider, groups),
                nn.LeakyReLU(_SLOPE),
            )
            self.levels.append(level)
            width = wider
        self.head = ConvND(spatial_dims, width, 1)

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        """Judge images ``(B, in_channels, *spatial)`` of any sides that can be halved so often.

        Raises:
            InputError: If channels do not fit, if a side is too short, or if a single voxel would
                be left, of which no norm can tell anything.
        """
        if x.ndim < 2 or x.shape[1] != self.in_channels:
            raise InputError(
                f"the discriminator judges images of {self.in_channels} channels, "
                f"got shape {tuple(x.shape)}"
            )
        left = [side // total for side, total in zip(x.shape[2:], self._total, strict=True)]
        if prod(left) == 1:
            raise InputError(
                f"images of sides {tuple(x.shape[2:])} leave one voxel to judge after strides of "
                f"{self._total}",
                "take larger patches or fewer levels",
            )
        h = self.stem(x)
        features = [h]
        for level in self.levels:
            h = level(h)
            features.append(h)
        return DiscriminatorOutput(self.head(h), tuple(features))
