"""Settings that all blocks of one network share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from ct_vae.blocks.conv import ConvND, PaddingMode, check_causal_padding
from ct_vae.blocks.norm import LayerNormND, NormKind, RMSNormND, group_norm
from ct_vae.errors import ConfigError


@dataclass(frozen=True)
class BlockStyle:
    """Settings of the convolutions and normalization layers of a network.

    Attributes:
        norm: Kind of normalization: ``group`` over groups of channels and all positions, or ``rms``
            or ``layer`` per voxel over its channels.
        norm_groups: Number of groups of a group normalization; ``None`` uses the largest divisor of
            the number of channels up to 32.
        dropout: Probability of dropping a value before the second convolution of a residual block.
        bias: If true, the convolutions of residual blocks have biases.
        padding_mode: Padding of the border of a feature map.
        inner_norm: If true, residual blocks also normalize before their second convolution. Without
            it, that convolution receives unnormalized amplitudes.
        causal_axis: Axis along which an output depends on no later voxel; optional.

    Raises:
        ConfigError: If a value is out of range or contradicts another.
    """

    norm: NormKind = "group"
    norm_groups: int | None = None
    dropout: float = 0.0
    bias: bool = True
    padding_mode: PaddingMode = "zeros"
    causal_axis: int | None = None
    inner_norm: bool = True

    def __post_init__(self) -> None:
        _one_of("norm", self.norm, ("group", "rms", "layer"))
        _one_of("padding_mode", self.padding_mode, ("zeros", "replicate", "reflect", "circular"))
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is a probability in [0, 1), got {self.dropout}")
        if self.norm != "group" and self.norm_groups is not None:
            raise ConfigError(
                f"norm_groups {self.norm_groups} has no effect with norm {self.norm!r}",
                "leave norm_groups out, or choose norm 'group'",
            )
        if self.causal_axis is not None and self.norm == "group":
            raise ConfigError(
                "a causal network cannot use norm 'group', where every voxel depends on all others",
                "choose norm 'rms' or 'layer'",
            )
        check_causal_padding(self.padding_mode, self.causal_axis)

    def conv(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3
    ) -> nn.Module:
        """Create a convolution with bias that keeps the spatial size."""
        return replace(self, bias=True).block_conv(spatial_dims, in_channels, out_channels, kernel)

    def block_conv(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3
    ) -> nn.Module:
        """Create a convolution of a residual block."""
        return ConvND(
            spatial_dims,
            in_channels,
            out_channels,
            kernel,
            self.bias,
            self.padding_mode,
            self.causal_axis,
        )

    def normalize(self, spatial_dims: int, channels: int) -> nn.Module:
        """Create a normalization layer for ``(B, channels, *spatial)``."""
        if self.norm == "rms":
            return RMSNormND(channels)
        if self.norm == "layer":
            return LayerNormND(channels)
        return group_norm(spatial_dims, channels, self.norm_groups)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is one of {', '.join(allowed)}, got {value!r}")
