"""The numbers that shape encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.conv import check_causal_axis, per_axis
from ct_vae.blocks.downsample import BlurDownsampleND, DownsampleND
from ct_vae.blocks.patch import PatchEmbedND, PatchUnembedND, RefineND, patch_sides
from ct_vae.blocks.resblock import ResBlockND
from ct_vae.blocks.style import BlockStyle
from ct_vae.blocks.upsample import SubvoxelUpsampleND, UpsampleND
from ct_vae.config.levels import factors_of
from ct_vae.errors import ConfigError
from ct_vae.models.choices import Choices, OutputActivation, Steps, entries

UpsampleMode = Literal["nearest", "linear", "subvoxel"]
DownsampleMode = Literal["conv", "blur"]


@dataclass(frozen=True)
class Shape:
    """What encoder and decoder have in common, and the layers made from it.

    Attributes:
        spatial_dims: 1, 2 or 3.
        stem: Channels of the first convolution.
        channels: Channels of each level, the finest first.
        steps: Stride per axis between each level and the next.
        encoder_blocks: Residual blocks of each level of the encoder, the finest first.
        decoder_blocks: The same of the decoder.
        attention: For each level, whether its blocks are followed by attention.
        mid_attn: Whether a middle has attention.
        encoder_mid: Whether the encoder has a middle.
        decoder_mid: Whether the decoder has a middle.
        style: Of convolutions and normalisations.
        head_activation: Whether the last convolution of each side follows a SiLU.
        head_kernel: Side of the encoder's last kernel.
        downsample_mode: A strided convolution, or one that is blurred before voxels are dropped.
        upsample_mode: How voxels become more.
        adaptive: Whether each level of the decoder begins with a normalisation that the latent
            modulates.
        checkpointing: Whether training computes the inside of blocks twice.
        output_activation: What follows the decoder's last convolution.
        patch: Voxels per side of the blocks that become channels of the first level; ``()`` means
            1 along every axis.
        linear_skip: Whether a linear transform of blocks runs beside encoder and decoder.
        refine_channels: Channels of the convolutions at full resolution after the decoder's last;
            0 for none.

    Raises:
        ConfigError: If a number is out of its range, or contradicts another.
    """

    spatial_dims: int
    stem: int
    channels: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    attention: tuple[bool, ...]
    mid_attn: bool = True
    encoder_mid: bool = True
    decoder_mid: bool = True
    style: BlockStyle = field(default_factory=BlockStyle)
    head_activation: bool = True
    head_kernel: int = 3
    downsample_mode: DownsampleMode = "conv"
    upsample_mode: UpsampleMode = "nearest"
    adaptive: bool = False
    checkpointing: bool = False
    output_activation: OutputActivation = "identity"
    patch: tuple[int, ...] = ()
    linear_skip: bool = False
    refine_channels: int = 0

    def __post_init__(self) -> None:
        if self.refine_channels < 0:
            raise ConfigError(f"refine_channels is 0 or more, got {self.refine_channels}")
        if self.output_activation not in ("identity", "sigmoid"):
            raise ConfigError(
                f"output_activation is identity or sigmoid, got {self.output_activation!r}"
            )
        axis, attends = self.style.causal_axis, any((*self.attention, self._attending_middle))
        check_causal_axis(axis, self.spatial_dims)
        if axis is not None and attends:
            raise ConfigError(
                "a causal network cannot have attention, which lets every voxel see all others",
                "set mid_attn to false and leave attn_resolutions empty",
            )

    @property
    def _attending_middle(self) -> bool:
        return self.mid_attn and (self.encoder_mid or self.decoder_mid)

    @property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """Voxels of the image per voxel of each level, along each axis."""
        return factors_of(self.steps, self.spatial_dims, self.patch or None)

    @property
    def factor(self) -> tuple[int, ...]:
        """Voxels of the image per latent voxel along each axis."""
        return self.factors[-1]

    @property
    def has_patches(self) -> bool:
        """Whether the first level works on blocks of voxels."""
        return any(side > 1 for side in self.patch)

    def first(self, in_channels: int) -> nn.Module:
        """The encoder's first convolution."""
        if self.has_patches:
            return PatchEmbedND(self.spatial_dims, in_channels, self.stem, self.patch)
        return self.conv(in_channels, self.stem)

    def last(self, out_channels: int) -> nn.Module:
        """The decoder's last convolution."""
        width = self.channels[0]
        if self.has_patches:
            return PatchUnembedND(self.spatial_dims, width, out_channels, self.patch)
        return self.conv(width, out_channels)

    def analysis(self, in_channels: int, encoded: int) -> PatchEmbedND | None:
        """The linear transform beside the encoder, if there is one."""
        if not self.linear_skip:
            return None
        return PatchEmbedND(self.spatial_dims, in_channels, encoded, self.factor)

    def synthesis(self, latent_channels: int, out_channels: int) -> PatchUnembedND | None:
        """The linear transform beside the decoder, if there is one."""
        if not self.linear_skip:
            return None
        return PatchUnembedND(self.spatial_dims, latent_channels, out_channels, self.factor)

    def refine(self, image_channels: int) -> nn.Module:
        """The convolutions at full resolution, or what changes nothing."""
        if not self.refine_channels:
            return nn.Identity()
        return RefineND(
            self.spatial_dims, image_channels, self.refine_channels, self.style.padding_mode
        )

    def res_block(self, in_channels: int, out_channels: int) -> ResBlockND:
        """A residual block of this network."""
        return ResBlockND(self.spatial_dims, in_channels, out_channels, self.style)

    def attend(self, channels: int) -> SpatialSelfAttention:
        """An attention block of this network."""
        return SpatialSelfAttention(self.spatial_dims, channels, self.style)

    def conv(self, in_channels: int, out_channels: int, kernel: int = 3) -> nn.Module:
        """A convolution of this network."""
        return self.style.conv(self.spatial_dims, in_channels, out_channels, kernel)

    def normalise(self, channels: int) -> nn.Module:
        """A normalisation of this network."""
        return self.style.normalise(self.spatial_dims, channels)

    def activation(self) -> nn.Module:
        """What stands before the last convolution of each side."""
        return nn.SiLU() if self.head_activation else nn.Identity()

    def output(self, tanh_out: bool) -> nn.Module:
        """What follows the decoder's last convolution.

        Raises:
            ConfigError: If both a tangent and a sigmoid are asked for.
        """
        if self.output_activation == "identity":
            return nn.Tanh() if tanh_out else nn.Identity()
        if tanh_out:
            raise ConfigError("tanh_out contradicts output_activation 'sigmoid'", "choose one")
        return nn.Sigmoid()

    def downsample(self, level: int) -> nn.Module:
        """From a level to the next coarser one."""
        kind = BlurDownsampleND if self.downsample_mode == "blur" else DownsampleND
        return kind(
            self.spatial_dims,
            self.channels[level],
            self.steps[level],
            self.style.padding_mode,
            self.style.causal_axis,
        )

    def upsample(self, level: int) -> nn.Module:
        """From a level to the next finer one."""
        numbers = self.spatial_dims, self.channels[level], self.steps[level - 1]
        if self.upsample_mode == "subvoxel":
            return SubvoxelUpsampleND(*numbers, self.style.padding_mode, self.style.causal_axis)
        return UpsampleND(*numbers, self.style.padding_mode, self.upsample_mode)


def shape_of(  # noqa: PLR0913, PLR0917 - the numbers as constructors take them
    spatial_dims: int,
    base_ch: int,
    ch_mult: Sequence[int],
    down_channels: Sequence[int] | None,
    num_res_blocks: int | Sequence[int],
    attn_resolutions: int | Sequence[int],
    mid_attn: bool,
    norm_groups: int | None,
    dropout: float,
    choices: Choices,
) -> Shape:
    """The shape that the arguments of a constructor describe.

    Args:
        spatial_dims: 1, 2 or 3.
        base_ch: Channels of the first convolution, and the unit of ``ch_mult``.
        ch_mult: Channels of each level in units of ``base_ch``, the finest first.
        down_channels: Channels of each level as they are, instead of ``ch_mult``; the first
            convolution then has those of the first level.
        num_res_blocks: Residual blocks per level of the encoder.
        attn_resolutions: Downsample factors (the largest over the axes) at which blocks are
            followed by attention.
        mid_attn: Whether a middle has attention.
        norm_groups: Groups of a group normalisation.
        dropout: Of every residual block.
        choices: All else.

    Raises:
        ConfigError: If the numbers do not fit together.
    """
    if spatial_dims not in (1, 2, 3):
        raise ConfigError(f"spatial_dims is 1, 2 or 3, got {spatial_dims}")
    upsample_mode = choices.get("upsample_mode", "nearest")
    if upsample_mode not in ("nearest", "linear"):
        raise ConfigError(f"upsample_mode is nearest or linear, got {upsample_mode!r}")
    stem, channels = _widths(base_ch, ch_mult, down_channels)
    levels = len(channels)
    blocks = _blocks("num_res_blocks", num_res_blocks, levels)
    style = BlockStyle(
        norm=choices.get("norm", "group"),
        norm_groups=norm_groups,
        dropout=dropout,
        padding_mode=choices.get("padding_mode", "zeros"),
        inner_norm=choices.get("inner_norm", True),
    )
    shape = Shape(
        spatial_dims=spatial_dims,
        stem=stem,
        channels=channels,
        steps=_steps(choices.get("strides"), levels, spatial_dims),
        encoder_blocks=blocks,
        decoder_blocks=_decoder_blocks(choices.get("decoder_blocks"), blocks),
        attention=(False,) * levels,
        mid_attn=mid_attn,
        encoder_mid=choices.get("encoder_mid", True),
        decoder_mid=choices.get("decoder_mid", True),
        style=style,
        head_activation=choices.get("head_activation", True),
        upsample_mode=upsample_mode,
        checkpointing=choices.get("checkpointing", False),
        output_activation=choices.get("output_activation") or "identity",
        patch=patch_sides(choices.get("patch_size", 1), spatial_dims),
        linear_skip=choices.get("linear_skip", False),
        refine_channels=choices.get("refine_channels", 0),
    )
    return replace(shape, attention=_attending(shape, attn_resolutions))


def _widths(
    base_ch: int, ch_mult: Sequence[int], down_channels: Sequence[int] | None
) -> tuple[int, tuple[int, ...]]:
    """Channels of the first convolution and of each level."""
    if down_channels is None:
        stem, channels = base_ch, tuple(base_ch * m for m in entries("ch_mult", ch_mult))
    else:
        channels = entries("down_channels", down_channels)
        stem = next(iter(channels), 0)
    if not channels or min(stem, *channels) < 1:
        raise ConfigError(
            f"a network needs at least one level and positive widths, got a first convolution "
            f"of {stem} and levels of {channels}",
            "check base_ch, ch_mult and down_channels",
        )
    return stem, channels


def _blocks(name: str, blocks: int | Sequence[int], levels: int) -> tuple[int, ...]:
    given = (blocks,) * levels if isinstance(blocks, int) else entries(name, blocks)
    if len(given) != levels or min(given) < 1:
        raise ConfigError(
            f"{name} is at least 1, one number or one for each of {levels} levels, got {blocks}"
        )
    return given


def _decoder_blocks(given: int | Sequence[int] | None, encoder: tuple[int, ...]) -> tuple[int, ...]:
    """As given, or one more than the encoder has."""
    return _blocks(
        "decoder_blocks", tuple(n + 1 for n in encoder) if given is None else given, len(encoder)
    )


def _steps(strides: Steps | None, levels: int, spatial_dims: int) -> tuple[tuple[int, ...], ...]:
    each = 2 if strides is None else strides
    given = (each,) * (levels - 1) if isinstance(each, int) else entries("strides", each)
    if len(given) != levels - 1:
        raise ConfigError(
            f"strides has {len(given)} steps, {levels} levels need {levels - 1}",
            "give one step between each level and the next",
        )
    return tuple(per_axis(step, spatial_dims) for step in given)


def _attending(shape: Shape, attn_resolutions: int | Sequence[int]) -> tuple[bool, ...]:
    one = (attn_resolutions,) if isinstance(attn_resolutions, int) else attn_resolutions
    wanted: set[int] = set(entries("attn_resolutions", one))
    factors = [max(factor) for factor in shape.factors]
    strange = sorted(wanted - set(factors))
    if strange:
        raise ConfigError(
            f"attn_resolutions {strange} do not occur, the factors of the levels are {factors}"
        )
    return tuple(factor in wanted for factor in factors)
