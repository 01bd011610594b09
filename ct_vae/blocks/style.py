"""What all units of one network have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from ct_vae.blocks.conv import ConvND, PaddingMode, check_causal_padding
from ct_vae.blocks.norm import LayerNormND, NormKind, RMSNormND, group_norm
from ct_vae.errors import ConfigError


@dataclass(frozen=True)
class BlockStyle:
    """How the convolutions and normalisations of a network are made.

    Attributes:
        norm: Over groups of channels and all positions, or per voxel over its channels.
        norm_groups: Groups of a group normalisation; ``None`` means the largest divisor of the
            width up to 32.
        dropout: Share of values dropped before the second convolution of a residual block.
        bias: Whether the convolutions of residual blocks have offsets.
        padding_mode: What lies beyond the border of a map.
        inner_norm: Whether a residual block normalizes before its second convolution too. Without
            it, amplitudes reach that convolution as they are.
        causal_axis: Axis along which a voxel sees none that come after it, or ``None``.

    Raises:
        ConfigError: If a number is out of its range, or contradicts another.
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
            raise ConfigError(f"dropout is a share from 0 to below 1, got {self.dropout}")
        if self.norm != "group" and self.norm_groups is not None:
            raise ConfigError(
                f"norm_groups {self.norm_groups} says nothing about norm {self.norm!r}",
                "leave norm_groups out, or choose norm 'group'",
            )
        if self.causal_axis is not None and self.norm == "group":
            raise ConfigError(
                "a causal network cannot have norm 'group', which lets every voxel see all others",
                "choose norm 'rms' or 'layer'",
            )
        check_causal_padding(self.padding_mode, self.causal_axis)

    def conv(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3
    ) -> nn.Module:
        """A convolution with offsets that keeps the sides."""
        return replace(self, bias=True).block_conv(spatial_dims, in_channels, out_channels, kernel)

    def block_conv(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel: int = 3
    ) -> nn.Module:
        """A convolution of a residual block."""
        return ConvND(
            spatial_dims,
            in_channels,
            out_channels,
            kernel,
            self.bias,
            self.padding_mode,
            self.causal_axis,
        )

    def normalise(self, spatial_dims: int, channels: int) -> nn.Module:
        """A normalisation of ``(B, channels, *spatial)``."""
        if self.norm == "rms":
            return RMSNormND(channels)
        if self.norm == "layer":
            return LayerNormND(channels)
        return group_norm(spatial_dims, channels, self.norm_groups)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is one of {', '.join(allowed)}, got {value!r}")
