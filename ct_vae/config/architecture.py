"""Architecture of an autoencoder: its hyperparameters and derived sizes, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Annotated, Literal

from pydantic import Field

from ct_vae.config.base import Section
from ct_vae.config.codes import QuantizerKind

PositiveInt = Annotated[int, Field(gt=0)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=8)]
Levels = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
Stride = Annotated[int, Field(ge=1, le=2)]
PatchSide = Annotated[int, Field(ge=1, le=16)]
PatchSize = PatchSide | Annotated[tuple[PatchSide, ...], Field(min_length=1, max_length=3)]
Step = Stride | Annotated[tuple[Stride, ...], Field(min_length=1, max_length=3)]


class Architecture(Section):
    """Hyperparameters of an autoencoder, with the names and defaults of its constructor.

    Properties compute derived sizes. Values per level start with the finest level.
    """

    latent_type: Literal["kl", "vq", "magvit"] = "kl"
    """Type of autoencoder: `kl` has a continuous latent; `vq` and `magvit` have discrete codes."""

    spatial_dims: Literal[1, 2, 3] = 3
    """Number of spatial dimensions of the image."""

    in_channels: PositiveInt = 1
    """Number of channels of the image."""

    out_channels: PositiveInt = 1
    """Number of channels of the reconstruction."""

    resolution: PositiveInt = 256
    """Nominal image size, in voxels per axis, for which feature map sizes are reported. The model
    accepts any size that is a multiple of its downsampling factor."""

    base_ch: PositiveInt = 128
    """Number of channels of the first convolution; `ch_mult` multiplies it."""

    ch_mult: Widths = (1, 2, 4, 4)
    """Channel multiplier of each level, relative to `base_ch`. Each level after the first has half
    the resolution of the previous one, unless `strides` says otherwise."""

    down_channels: Widths | None = None
    """Number of channels of each level; replaces `base_ch` and `ch_mult` if given."""

    num_res_blocks: PositiveInt | Widths = 2
    """Number of residual blocks per encoder level: one value for all levels, or one per level."""

    attn_resolutions: PositiveInt | tuple[PositiveInt, ...] = ()
    """Downsampling factors at which self-attention follows each residual block. If the factor
    differs between axes, the largest counts."""

    mid_attn: bool = True
    """Use self-attention in the middle block."""

    z_channels: PositiveInt = 4
    """Number of latent channels of the encoder and decoder; equals `embed_dim` by default for `vq`
    and `magvit`."""

    double_z: bool = True
    """Let the encoder output `2 * z_channels`, for mean and log-variance; always false for `vq` and
    `magvit`."""

    embed_dim: PositiveInt = 4
    """Number of channels of the latent, or of a code. Defaults to 8 for the quantizer `ema`, to the
    number of `levels` for `fsq` and to 16 bits for `lfq`."""

    norm_groups: PositiveInt | None = None
    """Number of groups of every group normalization; null means the largest divisor of the number
    of channels that is at most 32."""

    tanh_out: bool = False
    """Apply tanh to the output of the decoder."""

    output_activation: Literal["identity", "sigmoid"] | None = None
    """Activation after the last convolution of the decoder; null means `sigmoid` if `recon_type` is
    `bce` or `bce_focal`, else `identity`."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability in every residual block."""

    codebook_size: PositiveInt = 8192
    """Number of codes in the codebook. For `fsq` and `lfq` it follows from the levels or bits; `kl`
    ignores it."""

    ckpt_path: str | None = None
    """Pretrained weights: a safetensors file, a model folder, or the name of a default model. As
    the only key of the section, it also gives the architecture and the preprocessing."""

    stage_2_inputs: Literal["mean", "sample"] = "mean"
    """Output of `encode_stage_2_inputs`, on which latent diffusion models train: the mean of the
    posterior or a sample; `kl` only."""

    quantizer: QuantizerKind | None = None
    """Quantizer: a codebook learned by moving averages (`ema`, default for `vq`), finite scalar
    quantization (`fsq`, default for `magvit`) or lookup-free quantization (`lfq`); null for
    `kl`."""

    levels: Levels | None = None
    """Number of levels of each channel of an `fsq` code; defaults to [8, 8, 8, 5, 5, 5]."""

    codebook_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Decay of the moving averages of an `ema` codebook, per training step."""

    normalize_codes: bool = False
    """L2-normalize latents and codes before the nearest code is searched; `ema` only."""

    norm: Literal["group", "rms", "layer"] = "group"
    """Type of normalization: group normalization, or RMS or layer normalization over the channels
    of each voxel."""

    inner_norm: bool = True
    """Normalize before the second convolution of a residual block too. Without it, models of HU
    learn faster, because absolute intensities matter."""

    strides: Stride | tuple[Step, ...] | None = None
    """Stride between consecutive levels, 1 or 2: one value for all levels, or one value or one per
    axis for each; null means 2."""

    padding_mode: Literal["zeros", "replicate", "reflect", "circular"] = "zeros"
    """Padding mode of all convolutions."""

    decoder_blocks: PositiveInt | Widths | None = None
    """Number of residual blocks per decoder level: one value for all levels, or one per level; null
    means one more than in the encoder."""

    encoder_mid: bool = True
    """Use a middle block at the lowest resolution of the encoder."""

    decoder_mid: bool = True
    """Use a middle block at the lowest resolution of the decoder."""

    head_activation: bool = True
    """Apply SiLU before the last convolution of the encoder and of the decoder."""

    upsample_mode: Literal["nearest", "linear"] = "nearest"
    """Interpolation mode of the decoder's upsampling; `magvit` uses depth-to-space instead."""

    checkpointing: bool = False
    """Use activation checkpointing: training needs less memory and recomputes the activations of
    blocks in the backward pass."""

    causal_axis: Annotated[int, Field(ge=0, le=2)] | None = None
    """Axis along which convolutions are causal; null means none; `magvit` only."""

    downsample_mode: Literal["conv", "blur"] = "conv"
    """Downsampling by a strided convolution, or with a blur filter before it; `magvit` only."""

    patch_size: PatchSize = 1
    """Size of the image patches, in voxels, that are moved to channels before the first convolution
    and back after the last: one value for all axes, or one per axis; 1 means no patches."""

    linear_skip: bool = False
    """Add a linear transform of each block of voxels to the output of the encoder, and the inverse
    transform to the output of the decoder. It is initialized with the DCT; training starts from
    the KLT of the training data."""

    refine_channels: Annotated[int, Field(ge=0)] = 0
    """Number of channels of two convolutions at full resolution that refine the reconstruction; 0
    means no refinement."""

    @property
    def patch_sides(self) -> tuple[int, ...]:
        """Size in voxels, along each axis, of the image patches that the first level works on."""
        size = self.patch_size
        return (size,) * self.spatial_dims if isinstance(size, int) else size

    @property
    def has_patches(self) -> bool:
        """True if the first level works on patches of the image."""
        return max(self.patch_sides) > 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of channels of each level."""
        return self.down_channels or tuple(self.base_ch * m for m in self.ch_mult)

    @property
    def conv_in_channels(self) -> int:
        """Number of channels of the first convolution."""
        return self.widths[0] if self.down_channels else self.base_ch

    @property
    def level_strides(self) -> tuple[tuple[int, ...], ...]:
        """Stride along each axis between consecutive levels."""
        given = 2 if self.strides is None else self.strides
        steps = (given,) * (len(self.widths) - 1) if isinstance(given, int) else given
        return tuple((s,) * self.spatial_dims if isinstance(s, int) else s for s in steps)

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Downsampling factor of each level along each axis."""
        return factors_of(self.level_strides, self.patch_sides)

    @property
    def factor(self) -> tuple[int, ...]:
        """Downsampling factor of the latent along each axis."""
        return self.factors[-1]

    @property
    def attention_factors(self) -> tuple[int, ...]:
        """Downsampling factors at which self-attention follows each residual block."""
        given = self.attn_resolutions
        return (given,) if isinstance(given, int) else given

    @property
    def level_attention(self) -> tuple[bool, ...]:
        """True for each level with self-attention after its residual blocks."""
        return tuple(max(factor) in self.attention_factors for factor in self.factors)

    @property
    def middle_attends(self) -> bool:
        """True if the encoder or decoder has a middle block with self-attention."""
        return self.mid_attn and (self.encoder_mid or self.decoder_mid)

    @property
    def encoder_blocks(self) -> tuple[int, ...]:
        """Number of residual blocks of each encoder level."""
        return self._per_level(self.num_res_blocks)

    @property
    def decoder_level_blocks(self) -> tuple[int, ...]:
        """Number of residual blocks of each decoder level."""
        if self.decoder_blocks is None:
            return tuple(n + 1 for n in self.encoder_blocks)
        return self._per_level(self.decoder_blocks)

    @property
    def encoder_channels(self) -> int:
        """Number of output channels of the encoder."""
        return 2 * self.z_channels if self.double_z else self.z_channels

    @property
    def feature_channels(self) -> int:
        """Number of output channels of ``quant_conv``: mean and log-variance, or the code."""
        return 2 * self.embed_dim if self.latent_type == "kl" else self.embed_dim

    @property
    def latent_channels(self) -> int:
        """Number of channels of the latent before quantization."""
        return self.embed_dim

    @property
    def stored_values(self) -> int:
        """Number of values stored per latent voxel: one per channel, or one code index."""
        return self.embed_dim if self.latent_type == "kl" else 1

    @property
    def compression(self) -> float:
        """Compression ratio: image values per stored value."""
        return prod(self.factor) * self.in_channels / self.stored_values

    @property
    def reg_type(self) -> Literal["kl", "vq"]:
        """Type of regularization that the latent type needs."""
        return "kl" if self.latent_type == "kl" else "vq"

    def _per_level(self, blocks: int | tuple[int, ...]) -> tuple[int, ...]:
        return (blocks,) * len(self.widths) if isinstance(blocks, int) else blocks


def factors_of(
    strides: Sequence[Sequence[int]], first: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Return the downsampling factor of each level along each axis.

    Args:
        strides: Stride along each axis between consecutive levels.
        first: Downsampling factor of the first level.
    """
    return tuple(accumulate(strides, _multiplied, initial=tuple(first)))


def _multiplied(factor: tuple[int, ...], stride: Sequence[int]) -> tuple[int, ...]:
    return tuple(f * s for f, s in zip(factor, stride, strict=True))
