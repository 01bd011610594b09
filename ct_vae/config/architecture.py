"""The architecture of an autoencoder: its numbers and what follows from them, without torch."""

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
    """Numbers of an autoencoder, with the names and defaults of its constructor.

    Properties give what follows from them, level by level with the finest first.
    """

    latent_type: Literal["kl", "vq", "magvit"] = "kl"
    """Kind of model: ``kl`` is continuous; ``vq`` and ``magvit`` have codes."""

    spatial_dims: Literal[1, 2, 3] = 3
    """Dimensions of the image."""

    in_channels: PositiveInt = 1
    """Channels of the image."""

    out_channels: PositiveInt = 1
    """Channels of the reconstruction."""

    resolution: PositiveInt = 256
    """Side for which feature sizes are reported; any multiple of the factor runs."""

    base_ch: PositiveInt = 128
    """Channels of the first convolution, and the unit of `ch_mult`."""

    ch_mult: Widths = (1, 2, 4, 4)
    """Channels of each level in units of `base_ch`; sides halve between levels."""

    down_channels: Widths | None = None
    """Channels of each level as they are, instead of `ch_mult`."""

    num_res_blocks: PositiveInt | Widths = 2
    """Residual blocks per level of the encoder, one number or one for each level."""

    attn_resolutions: PositiveInt | tuple[PositiveInt, ...] = ()
    """Downsample factors (the largest over the axes) at which blocks are followed by attention."""

    mid_attn: bool = True
    """Whether the middle has attention."""

    z_channels: PositiveInt = 4
    """Channels that leave the encoder and enter the decoder; models with codes: `embed_dim`."""

    double_z: bool = True
    """Whether the encoder gives twice `z_channels`; models with codes: false."""

    embed_dim: PositiveInt = 4
    """Channels of the latent, or of a code: 8 for `ema`, as many as `levels`, or bits (16)."""

    norm_groups: PositiveInt | None = None
    """Groups of every normalisation; null means the largest divisor of the width up to 32."""

    tanh_out: bool = False
    """Whether the output goes through a hyperbolic tangent."""

    output_activation: Literal["identity", "sigmoid"] | None = None
    """What turns the last convolution's output into model units; null follows from `recon_type`."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout of every residual block."""

    codebook_size: PositiveInt = 8192
    """Number of codes; follows from `levels` or bits; ignored by `kl`."""

    ckpt_path: str | None = None
    """Weights to begin from, a safetensors file or a model folder."""

    stage_2_inputs: Literal["mean", "sample"] = "mean"
    """What a diffusion model on this latent is given by `encode_stage_2_inputs`; `kl` only."""

    quantizer: QuantizerKind | None = None
    """How codes are found: `ema` by default for `vq`, `fsq` for `magvit`, null for `kl`."""

    levels: Levels | None = None
    """Values of each channel of an `fsq` code; (8, 8, 8, 5, 5, 5) by default."""

    codebook_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Decay per step of the moving averages of an `ema` codebook."""

    normalize_codes: bool = False
    """Whether an `ema` codebook compares directions only."""

    norm: Literal["group", "rms", "layer"] = "group"
    """Normalisation: over groups and all positions, or per voxel over its channels."""

    inner_norm: bool = True
    """Whether residual blocks normalize before their second convolution too; without it they learn
    faster where amplitudes matter, as HU do."""

    strides: Stride | tuple[Step, ...] | None = None
    """Step between levels, 1 or 2: one number, or for each level one or one per axis; null: 2."""

    padding_mode: Literal["zeros", "replicate", "reflect", "circular"] = "zeros"
    """What convolutions see beyond the border."""

    decoder_blocks: PositiveInt | Widths | None = None
    """Residual blocks per level of the decoder; null means one more than the encoder has."""

    encoder_mid: bool = True
    """Whether the encoder has a middle."""

    decoder_mid: bool = True
    """Whether the decoder has a middle."""

    head_activation: bool = True
    """Whether the last convolution of each side follows a SiLU."""

    upsample_mode: Literal["nearest", "linear"] = "nearest"
    """How voxels become more before a convolution; `magvit` always moves channels to voxels."""

    checkpointing: bool = False
    """Whether training computes the inside of blocks twice to save memory."""

    causal_axis: Annotated[int, Field(ge=0, le=2)] | None = None
    """Axis along which no voxel sees a later one; `magvit` only."""

    downsample_mode: Literal["conv", "blur"] = "conv"
    """Whether maps are blurred before voxels are dropped; `magvit` only."""

    patch_size: PatchSize = 1
    """Voxels per side of the blocks that the first convolution turns into channels and the last
    one back into voxels, one number or one for each axis; 1 means that it works on voxels."""

    linear_skip: bool = False
    """Add a linear transform of each block of voxels to what the encoder gives, and its inverse to
    what the decoder gives. It starts as the block's DCT, in training as the KLT of the data."""

    refine_channels: Annotated[int, Field(ge=0)] = 0
    """Channels of two convolutions at full resolution whose result is added to the reconstruction;
    0 means none."""

    @property
    def patch_sides(self) -> tuple[int, ...]:
        """Voxels per side of a block of the image that becomes one voxel of the first level."""
        size = self.patch_size
        return (size,) * self.spatial_dims if isinstance(size, int) else size

    @property
    def has_patches(self) -> bool:
        """True if the first level works on blocks of voxels."""
        return max(self.patch_sides) > 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return self.down_channels or tuple(self.base_ch * m for m in self.ch_mult)

    @property
    def conv_in_channels(self) -> int:
        """Channels of the first convolution."""
        return self.widths[0] if self.down_channels else self.base_ch

    @property
    def level_strides(self) -> tuple[tuple[int, ...], ...]:
        """Stride per axis between each level and the next."""
        given = 2 if self.strides is None else self.strides
        steps = (given,) * (len(self.widths) - 1) if isinstance(given, int) else given
        return tuple((s,) * self.spatial_dims if isinstance(s, int) else s for s in steps)

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Voxels of the image per voxel of each level, along each axis."""
        return factors_of(self.level_strides, self.patch_sides)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return self.factors[-1]

    @property
    def attention_factors(self) -> tuple[int, ...]:
        """Downsample factors at which blocks are followed by attention."""
        given = self.attn_resolutions
        return (given,) if isinstance(given, int) else given

    @property
    def level_attention(self) -> tuple[bool, ...]:
        """True for each level whose blocks are followed by attention."""
        return tuple(max(factor) in self.attention_factors for factor in self.factors)

    @property
    def middle_attends(self) -> bool:
        """True if there is a middle with attention."""
        return self.mid_attn and (self.encoder_mid or self.decoder_mid)

    @property
    def encoder_blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level of the encoder."""
        return self._per_level(self.num_res_blocks)

    @property
    def decoder_level_blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level of the decoder."""
        if self.decoder_blocks is None:
            return tuple(n + 1 for n in self.encoder_blocks)
        return self._per_level(self.decoder_blocks)

    @property
    def encoder_channels(self) -> int:
        """Channels that leave the encoder."""
        return 2 * self.z_channels if self.double_z else self.z_channels

    @property
    def feature_channels(self) -> int:
        """Channels that leave ``quant_conv``: means and log-variances, or codes."""
        return 2 * self.embed_dim if self.latent_type == "kl" else self.embed_dim

    @property
    def latent_channels(self) -> int:
        """Numbers per latent voxel before any quantization."""
        return self.embed_dim

    @property
    def stored_values(self) -> int:
        """Numbers on disk per latent voxel: one for each channel, or one code."""
        return self.embed_dim if self.latent_type == "kl" else 1

    @property
    def compression(self) -> float:
        """Numbers of the image for each number on disk."""
        return prod(self.factor) * self.in_channels / self.stored_values

    @property
    def reg_type(self) -> Literal["kl", "vq"]:
        """The regularization that this kind of latent needs."""
        return "kl" if self.latent_type == "kl" else "vq"

    def _per_level(self, blocks: int | tuple[int, ...]) -> tuple[int, ...]:
        return (blocks,) * len(self.widths) if isinstance(blocks, int) else blocks


def factors_of(
    strides: Sequence[Sequence[int]], first: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Voxels of the image per voxel of each level, along each axis.

    Args:
        strides: Stride per axis between each level and the next.
        first: Voxels of the image per voxel of the first level.
    """
    return tuple(accumulate(strides, _multiplied, initial=tuple(first)))


def _multiplied(factor: tuple[int, ...], stride: Sequence[int]) -> tuple[int, ...]:
    return tuple(f * s for f, s in zip(factor, stride, strict=True))
