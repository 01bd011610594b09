"""Section ``model``: the architecture."""

from __future__ import annotations

from math import prod
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ct_vae.config.base import Section
from ct_vae.config.codes import DEFAULT_LEVELS, QuantizerKind, check_codes, codes_of
from ct_vae.config.levels import factors_of

PositiveInt = Annotated[int, Field(gt=0)]
Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=8)]
Levels = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)]
Stride = Annotated[int, Field(ge=1, le=2)]
PatchSide = Annotated[int, Field(ge=1, le=16)]
PatchSize = PatchSide | Annotated[tuple[PatchSide, ...], Field(min_length=1, max_length=3)]
Step = Stride | Annotated[tuple[Stride, ...], Field(min_length=1, max_length=3)]

# Fields that say nothing about a model of the other kinds.
_QUANTISED_ONLY = ("quantizer", "levels", "codebook_decay", "normalize_codes")
_MAGVIT_ONLY = ("causal_axis", "downsample_mode")
_KL_ONLY = ("stage_2_inputs",)
_NOT_MAGVIT = ("patch_size", "linear_skip", "refine_channels")


class ModelConfig(Section):
    """Numbers of an autoencoder, with the names and defaults of its constructor."""

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

    attn_resolutions: tuple[PositiveInt, ...] = ()
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

    strides: tuple[Step, ...] | None = None
    """Step between levels, a number or one per axis, each 1 or 2; null means 2 everywhere."""

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
    def patch(self) -> tuple[int, ...]:
        """Voxels per side of a block of the image that becomes one voxel of the first level."""
        size = self.patch_size
        return (size,) * self.spatial_dims if isinstance(size, int) else size

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return self.down_channels or tuple(self.base_ch * m for m in self.ch_mult)

    @property
    def steps(self) -> tuple[tuple[int, ...], ...]:
        """Stride per axis between each level and the next."""
        given = (2,) * (len(self.widths) - 1) if self.strides is None else self.strides
        dims = self.spatial_dims
        return tuple((step,) * dims if isinstance(step, int) else step for step in given)

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Voxels of the image per voxel of each level, along each axis."""
        return factors_of(self.steps, self.spatial_dims, self.patch)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels per latent voxel along each axis."""
        return self.factors[-1]

    @property
    def latent_channels(self) -> int:
        """Numbers per latent voxel before any quantisation."""
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
        """The regularisation that this kind of latent needs."""
        return "kl" if self.latent_type == "kl" else "vq"

    @model_validator(mode="after")
    def _fill(self) -> ModelConfig:
        """What follows from the kind of codes, so that a resolved configuration shows it."""
        if self.latent_type == "kl":
            return self
        kind = self.quantizer or ("ema" if self.latent_type == "vq" else "fsq")
        given = {name: getattr(self, name) for name in self.model_fields_set}
        width, size = codes_of(kind, self.levels, given.get("embed_dim"))
        follows = {"double_z": False, "embed_dim": width, "codebook_size": size}
        filled: dict[str, Any] = {**follows, **given, "quantizer": kind}
        if kind == "fsq":
            filled["levels"] = self.levels or DEFAULT_LEVELS
        filled = {"z_channels": filled["embed_dim"]} | filled
        # A frozen model takes no assignment; this is still its construction.
        self.__dict__.update(filled)
        return self

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        self._check_kind()
        self._check_patch()
        self._check_steps()
        self._check_levels()
        self._check_widths()
        return self

    def _check_kind(self) -> None:
        kl, magvit = self.latent_type == "kl", self.latent_type == "magvit"
        foreign = (_QUANTISED_ONLY if kl else _KL_ONLY) + (_NOT_MAGVIT if magvit else _MAGVIT_ONLY)
        fields = type(self).model_fields
        for name in foreign:
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"{name} says nothing about latent_type {self.latent_type!r}")
        if not kl and self.double_z:
            raise ValueError(f"double_z is for latent_type 'kl', not {self.latent_type!r}")
        if magvit and self.upsample_mode != "nearest":
            raise ValueError("upsample_mode says nothing about latent_type 'magvit'")
        if self.quantizer is not None:
            check_codes(
                self.quantizer,
                self.levels,
                self.embed_dim,
                self.codebook_size,
                self.normalize_codes,
            )
        if self.tanh_out and self.output_activation is not None:
            raise ValueError(f"tanh_out contradicts output_activation {self.output_activation!r}")
        if self.norm != "group" and self.norm_groups is not None:
            raise ValueError(f"norm_groups says nothing about norm {self.norm!r}")
        if self.causal_axis is not None:
            self._check_causal()

    def _check_patch(self) -> None:
        if len(self.patch) != self.spatial_dims:
            raise ValueError(
                f"patch_size {list(self.patch)} needs one side for each of {self.spatial_dims} axes"
            )
        if not self.linear_skip:
            return
        if self.z_channels != self.embed_dim:
            raise ValueError(
                f"linear_skip needs z_channels {self.z_channels} equal to embed_dim "
                f"{self.embed_dim}: its numbers are those of the latent"
            )
        if self.latent_type == "kl" and not self.double_z:
            raise ValueError("linear_skip needs double_z true: log-variances are not mixed with it")
        if self.embed_dim > prod(self.factor) * self.in_channels:
            raise ValueError(
                f"linear_skip: embed_dim {self.embed_dim} exceeds the "
                f"{prod(self.factor) * self.in_channels} values of a block of {list(self.factor)}"
            )

    def _check_causal(self) -> None:
        if self.causal_axis is not None and self.causal_axis >= self.spatial_dims:
            raise ValueError(f"causal_axis {self.causal_axis} is none of {self.spatial_dims} axes")
        middle = self.mid_attn and (self.encoder_mid or self.decoder_mid)
        if self.norm == "group" or middle or self.attn_resolutions:
            raise ValueError(
                "a model with causal_axis needs norm 'rms' or 'layer', mid_attn false and no "
                "attn_resolutions: the others let every voxel see all others"
            )
        if self.padding_mode in {"reflect", "circular"}:
            raise ValueError(
                f"padding_mode {self.padding_mode!r} puts later voxels before the first of a "
                "causal axis; choose 'zeros' or 'replicate'"
            )

    def _check_steps(self) -> None:
        needed = len(self.widths) - 1
        if len(self.steps) != needed:
            raise ValueError(
                f"strides has {len(self.steps)} steps, {needed + 1} levels need {needed}"
            )
        for step in self.steps:
            if len(step) != self.spatial_dims or max(step) == 1:
                raise ValueError(
                    f"strides: each step has a stride of 1 or 2 for each of {self.spatial_dims} "
                    f"axes, not all of them 1, got {list(step)}"
                )

    def _check_levels(self) -> None:
        for name in ("num_res_blocks", "decoder_blocks"):
            blocks = getattr(self, name)
            if isinstance(blocks, tuple) and len(blocks) != len(self.widths):
                raise ValueError(
                    f"{name} has {len(blocks)} entries, there are {len(self.widths)} levels"
                )
        factors = [max(factor) for factor in self.factors]
        strange = sorted(set(self.attn_resolutions) - set(factors))
        if strange:
            raise ValueError(
                f"attn_resolutions {strange} do not occur, the factors of the levels are {factors}"
            )
        if self.resolution % factors[-1]:
            raise ValueError(
                f"resolution {self.resolution} is not a multiple of the factor {factors[-1]}; it "
                "is only the side for which sizes are reported, choose any multiple"
            )

    def _check_widths(self) -> None:
        # A resolved configuration holds every key: the default beside down_channels says nothing.
        given = self.ch_mult != type(self).model_fields["ch_mult"].default
        if self.down_channels and given and len(self.down_channels) != len(self.ch_mult):
            raise ValueError(
                f"down_channels has {len(self.down_channels)} levels and ch_mult "
                f"{len(self.ch_mult)}; leave one out, or give both as many entries"
            )
        groups = self.norm_groups or 1
        uneven = [w for w in (self.stem, *self.widths) if w % groups]
        if uneven:
            raise ValueError(f"norm_groups {groups} does not divide the widths {uneven}")

    @property
    def stem(self) -> int:
        """Channels of the first convolution."""
        return self.widths[0] if self.down_channels else self.base_ch
