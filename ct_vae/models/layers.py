"""Factory of the layers of one network."""

from __future__ import annotations

from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.downsample import BlurDownsampleND, DownsampleND
from ct_vae.blocks.norm import AdaptiveNormND
from ct_vae.blocks.patch import PatchEmbedND, PatchUnembedND, RefineND
from ct_vae.blocks.resblock import ResBlockND
from ct_vae.blocks.style import BlockStyle
from ct_vae.blocks.upsample import SubvoxelUpsampleND, UpsampleND
from ct_vae.config.model import ModelConfig


class Layers:
    """Creates the layers of encoder and decoder.

    Args:
        config: Architecture of the network.

    Attributes:
        config: As given.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self._dims = config.spatial_dims
        self._magvit = config.latent_type == "magvit"
        self._style = BlockStyle(
            norm=config.norm,
            norm_groups=config.norm_groups,
            dropout=config.dropout,
            bias=not self._magvit,
            padding_mode=config.padding_mode,
            causal_axis=config.causal_axis,
            inner_norm=config.inner_norm,
        )

    def first(self) -> nn.Module:
        """Create the first convolution of the encoder."""
        image, width = self.config.in_channels, self.config.conv_in_channels
        if self.config.has_patches:
            return PatchEmbedND(self._dims, image, width, self.config.patch_sides)
        return self.conv(image, width)

    def head(self) -> nn.Module:
        """Create the last convolution of the encoder."""
        kernel = 1 if self._magvit else 3
        return self.conv(self.config.widths[-1], self.config.encoder_channels, kernel)

    def last(self) -> nn.Module:
        """Create the last convolution of the decoder."""
        width, image = self.config.widths[0], self.config.out_channels
        if self.config.has_patches:
            return PatchUnembedND(self._dims, width, image, self.config.patch_sides)
        return self.conv(width, image)

    def analysis(self) -> PatchEmbedND | None:
        """Create the linear transform parallel to the encoder; ``None`` without a skip."""
        config = self.config
        if not config.linear_skip:
            return None
        return PatchEmbedND(self._dims, config.in_channels, config.encoder_channels, config.factor)

    def synthesis(self) -> PatchUnembedND | None:
        """Create the linear transform parallel to the decoder; ``None`` without a skip."""
        config = self.config
        if not config.linear_skip:
            return None
        return PatchUnembedND(self._dims, config.z_channels, config.out_channels, config.factor)

    def refine(self) -> nn.Module:
        """Create the convolutions at full resolution, or an identity."""
        image, width = self.config.out_channels, self.config.refine_channels
        if not width:
            return nn.Identity()
        return RefineND(self._dims, image, width, self.config.padding_mode)

    def output(self) -> nn.Module:
        """Create the output activation of the decoder."""
        if self.config.output_activation == "sigmoid":
            return nn.Sigmoid()
        return nn.Tanh() if self.config.tanh_out else nn.Identity()

    def modulated_norm(self, channels: int) -> AdaptiveNormND | None:
        """Create the modulated normalization of a decoder level, if there is one."""
        if not self._magvit:
            return None
        modulation = self.conv(self.config.z_channels, 2 * channels, 1)
        return AdaptiveNormND(self.normalize(channels), modulation)

    def res_block(self, in_channels: int, out_channels: int) -> ResBlockND:
        """Create a residual block."""
        return ResBlockND(self._dims, in_channels, out_channels, self._style)

    def attend(self, channels: int) -> SpatialSelfAttention:
        """Create an attention block."""
        return SpatialSelfAttention(self._dims, channels, self._style)

    def conv(self, in_channels: int, out_channels: int, kernel: int = 3) -> nn.Module:
        """Create a convolution that keeps the spatial size."""
        return self._style.conv(self._dims, in_channels, out_channels, kernel)

    def normalize(self, channels: int) -> nn.Module:
        """Create a normalization layer."""
        return self._style.normalize(self._dims, channels)

    def activation(self) -> nn.Module:
        """Create the activation before the last convolution of encoder and decoder."""
        return nn.SiLU() if self.config.head_activation else nn.Identity()

    def downsample(self, level: int) -> nn.Module:
        """Create the downsampling from a level to the next coarser one."""
        kind = BlurDownsampleND if self.config.downsample_mode == "blur" else DownsampleND
        return kind(
            self._dims,
            self.config.widths[level],
            self.config.level_strides[level],
            self.config.padding_mode,
            self.config.causal_axis,
        )

    def upsample(self, level: int) -> nn.Module:
        """Create the upsampling from a level to the next finer one."""
        config = self.config
        numbers = self._dims, config.widths[level], config.level_strides[level - 1]
        if self._magvit:
            return SubvoxelUpsampleND(*numbers, config.padding_mode, config.causal_axis)
        return UpsampleND(*numbers, config.padding_mode, config.upsample_mode)
