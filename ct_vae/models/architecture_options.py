"""Validation of constructor arguments and their conversion to an architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypedDict

from pydantic import ValidationError

from ct_vae.blocks.conv import PaddingMode
from ct_vae.blocks.norm import NormKind
from ct_vae.config.codes import QuantizerKind
from ct_vae.config.load import describe
from ct_vae.config.model import ModelConfig
from ct_vae.errors import ConfigError

LatentType = Literal["kl", "vq", "magvit"]
# Arguments for which None selects the value that follows from the quantizer.
_FOLLOWING = ("z_channels", "embed_dim", "codebook_size")


class ArchitectureOptions(TypedDict, total=False):
    """Further keyword arguments of every autoencoder.

    The resolved section ``model`` of a configuration is accepted as well: arguments for other kinds
    of model are ignored if they have their default.

    Attributes:
        norm: Kind of normalization: ``group`` (the default), or ``rms`` or ``layer`` per voxel over
            its channels.
        inner_norm: Normalize before the second convolution of residual blocks too; defaults to
            true.
        strides: Strides between levels, 1 or 2: one number, or for each step a number or a tuple
            with one number per axis, such as ``((2, 2, 1), (2, 2, 2))`` for thick slices; defaults
            to 2.
        padding_mode: Padding of the border of a feature map: ``zeros`` (the default),
            ``replicate``, ``reflect`` or ``circular``.
        decoder_blocks: Residual blocks per level of the decoder, finest level first; defaults to
            one more than in the encoder.
        encoder_mid: Add a middle stage to the encoder; defaults to true.
        decoder_mid: Add a middle stage to the decoder; defaults to true.
        head_activation: Apply SiLU before the last convolution of encoder and decoder; defaults to
            true.
        upsample_mode: Upsampling before convolutions: ``nearest`` (the default) or ``linear``; not
            for ``MagvitVQVAE``, which uses pixel shuffles.
        checkpointing: Use activation checkpointing in training, which saves memory and takes about
            a third longer; defaults to false.
        output_activation: Activation of the reconstruction: ``identity`` (the default) or
            ``sigmoid``, for model units in [0, 1].
        patch_size: Size of the patches that the first convolution maps to channels and the last one
            back to voxels, one number or one for each axis; defaults to 1. All blocks then run at
            ``1 / patch_size`` of the image's resolution.
        linear_skip: Add a linear transform of each block of voxels to the latent, and its inverse
            to the reconstruction, so that the network only learns the residual of a linear code;
            defaults to false.
        refine_channels: Channels of two convolutions at full resolution whose result is added to
            the reconstruction; defaults to 0, no refinement.
        stage_2_inputs: Result of ``encode_stage_2_inputs``: posterior means (``mean``, the default)
            or samples (``sample``); `AutoencoderKL` only.
        quantizer: Quantizer: ``ema`` (learned codebook), ``fsq`` (finite scalar) or ``lfq``
            (lookup-free); defaults to ``ema`` for `VQVAE` and ``fsq`` for `MagvitVQVAE`.
        levels: Number of levels of each channel of an ``fsq`` code; defaults to (8, 8, 8, 5, 5, 5).
        codebook_decay: Decay per step of the moving averages of an ``ema`` codebook; defaults to
            0.99.
        normalize_codes: Compare only directions in an ``ema`` codebook; defaults to false.
        causal_axis: Axis (0, 1, 2 for X, Y, Z) along which a latent voxel depends on no voxel after
            its own block; requires ``norm`` ``rms`` or ``layer`` and no attention; `MagvitVQVAE`
            only.
        downsample_mode: Downsampling: ``conv`` (strided convolutions, the default) or ``blur``
            (anti-aliased); `MagvitVQVAE` only.
        latent_type: Kind of model; must match the class.
    """

    norm: NormKind
    inner_norm: bool
    strides: int | Sequence[int | Sequence[int]] | None
    padding_mode: PaddingMode
    decoder_blocks: int | Sequence[int] | None
    encoder_mid: bool
    decoder_mid: bool
    head_activation: bool
    upsample_mode: Literal["nearest", "linear"]
    checkpointing: bool
    output_activation: Literal["identity", "sigmoid"] | None
    patch_size: int | Sequence[int]
    linear_skip: bool
    refine_channels: int
    stage_2_inputs: Literal["mean", "sample"]
    quantizer: QuantizerKind | None
    levels: Sequence[int] | None
    codebook_decay: float
    normalize_codes: bool
    causal_axis: int | None
    downsample_mode: Literal["conv", "blur"]
    latent_type: LatentType


def checked_architecture(
    kind: type, latent_type: LatentType, named: Mapping[str, Any], options: ArchitectureOptions
) -> ModelConfig:
    """Validate the arguments of a constructor and complete them to an architecture.

    Args:
        kind: Class of the constructor, for messages.
        latent_type: Kind of its latent.
        named: Named arguments of the constructor, without ``ckpt_path``.
        options: Further keyword arguments.

    Raises:
        ConfigError: If values are out of range or contradict each other; the message lists all of
            them.
    """
    given = {name: _plain(value) for name, value in (dict(named) | dict(options)).items()}
    if given.pop("latent_type", latent_type) != latent_type:
        raise ConfigError(
            f"latent_type {options['latent_type']!r} does not match {kind.__name__}",
            "use AutoencoderKL for 'kl', VQVAE for 'vq', MagvitVQVAE for 'magvit'",
        )
    for name in _FOLLOWING:
        if given[name] is None:
            del given[name]
    if given["down_channels"] is not None:
        # down_channels replaces ch_mult, whatever its length.
        del given["ch_mult"]
    try:
        return ModelConfig(latent_type=latent_type, **given)
    except ValidationError as error:
        raise ConfigError(describe(error, ModelConfig, kind.__name__)) from None


def _plain(value: Any) -> Any:
    """Convert sequences to tuples and numbers of any type to those of Python."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return tuple(map(_plain, value))
    return value
