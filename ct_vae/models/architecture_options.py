"""From the keywords of a constructor to the architecture that they describe."""

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
# Where codes decide, None asks for what follows from them.
_FOLLOWING = ("z_channels", "embed_dim", "codebook_size")


class ArchitectureOptions(TypedDict, total=False):
    """Keywords of every constructor beside its named ones.

    A resolved section ``model`` of a configuration fits too: keywords for models of another kind
    are taken as long as they have their default.

    Attributes:
        norm: ``group`` (the default), or per voxel over its channels ``rms`` or ``layer``.
        inner_norm: Normalize before the second convolution of residual blocks too; true by
            default.
        strides: Stride between each level and the next, 1 or 2: one number, or for each level one
            or one for each axis; for thick slices ``((2, 2, 1), (2, 2, 2))``. Defaults to 2.
        padding_mode: Values beyond the border of a map: ``zeros`` (the default), ``replicate``,
            ``reflect`` or ``circular``.
        decoder_blocks: Residual blocks per level of the decoder, the finest first; defaults to one
            more than the encoder has.
        encoder_mid: Give the encoder a middle; true by default.
        decoder_mid: Give the decoder a middle; true by default.
        head_activation: Put a SiLU before the last convolution of encoder and decoder; true by
            default.
        upsample_mode: Repeat voxels (``nearest``, the default) or interpolate (``linear``) before
            the convolution; not for ``MagvitVQVAE``, which moves channels to voxels.
        checkpointing: Keep only the input of each block in training and compute the rest again,
            for less memory at about a third more time.
        output_activation: ``sigmoid`` turns the last convolution's output into model units in
            [0, 1]; defaults to ``identity``.
        patch_size: Voxels per side of the blocks that the first convolution turns into channels
            and the last one back into voxels, one number or one for each axis; 1 by default. All
            blocks of the network then work at ``1 / patch_size`` of the image's resolution.
        linear_skip: Add a linear transform of each block of voxels to the latent, and its inverse
            to the reconstruction, so that the network learns what a linear code misses.
        refine_channels: Channels of two convolutions at full resolution whose result is added to
            the reconstruction; 0, the default, means none.
        stage_2_inputs: Return posterior means (``mean``, the default) or samples (``sample``) from
            ``encode_stage_2_inputs``; `AutoencoderKL` only.
        quantizer: ``ema`` (learnt codebook), ``fsq`` (finite scalar) or ``lfq`` (lookup-free);
            defaults to ``ema`` for `VQVAE` and ``fsq`` for `MagvitVQVAE`.
        levels: Levels of each channel of an ``fsq`` code; defaults to (8, 8, 8, 5, 5, 5).
        codebook_decay: Decay per step of the moving averages of an ``ema`` codebook; 0.99 by
            default.
        normalize_codes: Compare only directions in an ``ema`` codebook; false by default.
        causal_axis: Axis (0, 1, 2 for X, Y, Z) along which a latent voxel sees no voxel after its
            own block; needs ``norm`` ``rms`` or ``layer`` and no attention; `MagvitVQVAE` only.
        downsample_mode: ``conv`` strides (the default), ``blur`` blurs before voxels are dropped;
            `MagvitVQVAE` only.
        latent_type: Kind of model; must be that of the class.
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
    """Check the keywords of a constructor and complete them.

    Args:
        kind: Class whose constructor it is, for messages.
        latent_type: Kind of its latent.
        named: Its named arguments, without ``ckpt_path``.
        options: Its other keywords.

    Raises:
        ConfigError: With every number that is out of its range or contradicts another.
    """
    given = {name: _plain(value) for name, value in (dict(named) | dict(options)).items()}
    if given.pop("latent_type", latent_type) != latent_type:
        raise ConfigError(
            f"latent_type {options['latent_type']!r} is not that of {kind.__name__}",
            "take AutoencoderKL for 'kl', VQVAE for 'vq', MagvitVQVAE for 'magvit'",
        )
    for name in _FOLLOWING:
        if given[name] is None:
            del given[name]
    if given["down_channels"] is not None:
        # They stand instead of multiples, of whatever number.
        del given["ch_mult"]
    try:
        return ModelConfig(latent_type=latent_type, **given)
    except ValidationError as error:
        raise ConfigError(describe(error, ModelConfig, kind.__name__)) from None


def _plain(value: Any) -> Any:
    """Turn lists of any kind into tuples, and numbers of any kind into those of Python."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return tuple(map(_plain, value))
    return value
