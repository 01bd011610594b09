"""Patch discriminator of the adversarial loss."""

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
    """Output of a discriminator.

    Attributes:
        logits: Logits ``(B, 1, *spatial / strides)``, positive for patches that look real.
        features: Outputs of the first layer and of each level, finest first, for feature matching.
    """

    logits: torch.Tensor
    features: tuple[torch.Tensor, ...]


class PatchDiscriminator(nn.Module):
    """Convolutional discriminator with one logit per patch (Isola et al. 2017).

    As in MAGVIT (Yu et al. 2023), feature maps are blurred before downsampling, so that the output
    does not depend on the alignment of the voxel grid (Zhang 2019). There is no global pooling and
    no batch normalization: the output for an image does not depend on the batch.

    Args:
        spatial_dims: Number of spatial dimensions: 1, 2 or 3; defaults to 3.
        in_channels: Channels of the images; defaults to 1.
        base_ch: Channels of the first layer, doubled at each level up to eight times; defaults to
            64.
        levels: Number of downsampling steps; defaults to 3.
        norm: Normalization: ``group`` (the default), with groups as in the autoencoders, or
            ``instance``, per channel.
        strides: Strides of each level, a number or a tuple with one per axis, such as (2, 2, 1) for
            thick slices; defaults to 2.

    Raises:
        ConfigError: If arguments are invalid or contradict each other.
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
            # Instance normalization is group normalization with one group per channel.
            groups = wider if norm == "instance" else group_count(wider, None)
            # Downsample before adding channels, as in StyleGAN2 (Karras et al. 2020): an eighth of
            # the multiplications in 3-D.
            level = nn.Sequential(
                BlurPoolND(spatial_dims, step),
                # Instance normalization removes any bias.
                ConvND(spatial_dims, width, wider, bias=groups < wider),
                group_norm(spatial_dims, wider, groups),
                nn.LeakyReLU(_SLOPE),
            )
            self.levels.append(level)
            width = wider
        self.head = ConvND(spatial_dims, width, 1)

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        """Compute logits and features of images ``(B, in_channels, *spatial)``.

        Raises:
            InputError: If the number of channels is wrong, if a size is too small, or if a single
                voxel would be left, which cannot be normalized.
        """
        if x.ndim < 2 or x.shape[1] != self.in_channels:
            raise InputError(
                f"the discriminator expects images of {self.in_channels} channels, "
                f"got shape {tuple(x.shape)}"
            )
        left = [side // total for side, total in zip(x.shape[2:], self._total, strict=True)]
        if prod(left) == 1:
            raise InputError(
                f"images of size {tuple(x.shape[2:])} are too small for a discriminator with total "
                f"strides {self._total}: a single voxel is left",
                "use larger patches or fewer levels",
            )
        h = self.stem(x)
        features = [h]
        for level in self.levels:
            h = level(h)
            features.append(h)
        return DiscriminatorOutput(self.head(h), tuple(features))
