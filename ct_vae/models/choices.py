"""What every member of the family can be told beside its main numbers."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from ct_vae.blocks.conv import PaddingMode
from ct_vae.blocks.norm import NormKind
from ct_vae.errors import ConfigError

Steps = int | Sequence[int | Sequence[int]]
OutputActivation = Literal["identity", "sigmoid"]


class Choices(TypedDict, total=False):
    """Keywords of every constructor.

    Attributes:
        norm: ``group`` (the default), or per voxel over its channels ``rms`` or ``layer``.
        inner_norm: Whether residual blocks normalize before their second convolution too, as by
            default.
        strides: Step between each level and the next, one number or one for each axis, each 1 or
            2; for thick slices ``((2, 2, 1), (2, 2, 2))``. By default 2 everywhere.
        padding_mode: What lies beyond the border of a map: ``zeros`` (the default),
            ``replicate``, ``reflect`` or ``circular``.
        decoder_blocks: Residual blocks per level of the decoder, the finest first; by default one
            more than the encoder has.
        encoder_mid: Whether the encoder has a middle, which it has by default.
        decoder_mid: Whether the decoder has a middle, which it has by default.
        head_activation: Whether the last convolution of each side follows a SiLU, as by default.
        upsample_mode: Whether voxels are repeated (``nearest``, the default) or interpolated
            (``linear``) before the convolution.
        checkpointing: Whether training keeps only what enters each block and computes the rest
            again, for less memory at about a third more time.
        output_activation: Whether a ``sigmoid`` turns the last convolution's output into model
            units in [0, 1]; ``identity`` by default.
        patch_size: Voxels per side of the blocks that the first convolution turns into channels
            and the last one back into voxels, one number or one for each axis; 1 by default. All
            blocks of the network then work at ``1 / patch_size`` of the image's resolution.
        linear_skip: Add a linear transform of each block of voxels to the latent, and its inverse
            to the reconstruction, so that the network learns what a linear code misses.
        refine_channels: Channels of two convolutions at full resolution whose result is added to
            the reconstruction; 0, the default, means none.
    """

    norm: NormKind
    inner_norm: bool
    strides: Steps | None
    padding_mode: PaddingMode
    decoder_blocks: int | Sequence[int] | None
    encoder_mid: bool
    decoder_mid: bool
    head_activation: bool
    upsample_mode: Literal["nearest", "linear"]
    checkpointing: bool
    output_activation: OutputActivation | None
    patch_size: int | Sequence[int]
    linear_skip: bool
    refine_channels: int


def refuse_unknown(kind: type, choices: Mapping[str, Any]) -> None:
    """Refuse keywords that a constructor does not take.

    Args:
        kind: Class whose constructor collected them.
        choices: What it was given beside its named arguments.

    Raises:
        ConfigError: With the first one, and the keyword that was probably meant.
    """
    unknown = sorted(choices.keys() - Choices.__annotations__.keys())
    if not unknown:
        return
    named = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    close = difflib.get_close_matches(unknown[0], [*named, *Choices.__annotations__], n=1)
    raise ConfigError(
        f"{kind.__name__} takes no {unknown[0]}" + (f", did you mean {close[0]}?" if close else ""),
        "" if close else "leave it out",
    )


def entries(name: str, value: Any) -> tuple[Any, ...]:
    """What a list of numbers holds.

    Args:
        name: Of the argument.
        value: Given for it.

    Raises:
        ConfigError: If it is no list.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | Mapping):
        raise ConfigError(f"{name} is a list of numbers, got {value!r}", "put it into brackets")
    return tuple(value)
