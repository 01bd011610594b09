"""Inference of a network's architecture from its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from ct_vae.blocks.norm import group_count
from ct_vae.config.load import describe
from ct_vae.config.model import ModelConfig
from ct_vae.errors import WeightsError

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Side:
    """Architecture of an encoder or decoder, levels sorted from the finest.

    Attributes:
        widths: Channels of each level.
        blocks: Residual blocks of each level.
        attention: For each level, true if its blocks are followed by attention.
        middle: True if there is a middle stage.
        attends: True if the middle stage has attention.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    attention: tuple[bool, ...]
    middle: bool
    attends: bool


@dataclass(frozen=True)
class SideNames:
    """Parameter names from which `Side` is inferred, for formats that number their levels.

    Attributes:
        block: Pattern of the first kernel of a block, with level and block as groups.
        attention: Pattern of a parameter of an attention block, with the level as group.
        middle: Parameter of the middle stage.
        attends: Parameter of the middle stage's attention.
        coarsest_first: True if level 0 is the coarsest; defaults to false.
    """

    block: str
    attention: str
    middle: str
    attends: str
    coarsest_first: bool = False

    def read(self, state: State) -> Side:
        """Infer the architecture of one side.

        Raises:
            WeightsError: If a level has no blocks.
        """
        kernels = {m: name for name in state if (m := re.fullmatch(self.block, name))}
        blocks: dict[int, dict[int, int]] = {}
        for match, name in kernels.items():
            blocks.setdefault(int(match[1]), {})[int(match[2])] = length(state[name])
        levels = list(range(max(blocks, default=-1) + 1))
        if not levels or len(blocks) < len(levels):
            absent = [level for level in levels if level not in blocks] or "all"
            raise WeightsError(f"levels without residual blocks: {absent} ({self.block})")
        attending = {int(m[1]) for name in state if (m := re.fullmatch(self.attention, name))}
        if self.coarsest_first:
            levels.reverse()
        return Side(
            widths=tuple(blocks[i][min(blocks[i])] for i in levels),
            blocks=tuple(max(blocks[i]) + 1 for i in levels),
            attention=tuple(i in attending for i in levels),
            middle=self.middle in state,
            attends=self.attends in state,
        )


@dataclass(frozen=True)
class Ends:
    """Names of the kernels at the input and output of encoder, decoder and latent."""

    encoder_in: str
    encoder_out: str
    decoder_in: str
    decoder_out: str
    quant: str
    post_quant: str

    def read(self, state: State) -> dict[str, Any]:
        """Infer dimensions and channels, with the names of `ModelConfig`.

        Raises:
            WeightsError: If a kernel is missing, or if channels are inconsistent.
        """
        first = _kernel(state, self.encoder_in)
        encoded, decoded = _kernel(state, self.encoder_out)[0], _kernel(state, self.decoder_in)[1]
        features, latent = _kernel(state, self.quant)[0], _kernel(state, self.post_quant)[1]
        if encoded not in (decoded, 2 * decoded):
            raise WeightsError(
                f"the encoder has {encoded} output channels ({self.encoder_out}), neither as many "
                f"nor twice as many as the {decoded} input channels of the decoder"
            )
        if features != 2 * latent:
            raise WeightsError(
                f"{self.quant} has {features} channels for a latent of {latent}: not means and "
                "log-variances, as an AutoencoderKL has"
            )
        return {
            "spatial_dims": len(first) - 2,
            "in_channels": first[1],
            "out_channels": _kernel(state, self.decoder_out)[0],
            "z_channels": decoded,
            "double_z": encoded == 2 * decoded,
            "embed_dim": latent,
            "conv_in_channels": first[0],
        }


def combine(ends: Mapping[str, Any], encoder: Side, decoder: Side) -> dict[str, Any]:
    """Combine the inferred settings, with the names of `ModelConfig`.

    Raises:
        WeightsError: If encoder and decoder differ in settings that this package's networks share.
    """
    for what in ("widths", "attention"):
        one, other = getattr(encoder, what), getattr(decoder, what)
        if one != other:
            raise WeightsError(
                f"encoder and decoder differ in {what} by level, {one} and {other}, "
                "which this package does not support"
            )
    if encoder.middle and decoder.middle and encoder.attends != decoder.attends:
        raise WeightsError(
            "only one of the two middle stages has attention, which this package does not support"
        )
    return {
        **{key: value for key, value in ends.items() if key != "conv_in_channels"},
        **_widths(ends["conv_in_channels"], encoder.widths),
        "num_res_blocks": _same(encoder.blocks),
        "decoder_blocks": _unless_one_more(encoder.blocks, decoder.blocks),
        "attn_resolutions": tuple(2**i for i, attends in enumerate(encoder.attention) if attends),
        "mid_attn": encoder.attends or decoder.attends,
        "encoder_mid": encoder.middle,
        "decoder_mid": decoder.middle,
    }


def checked(numbers: Mapping[str, Any]) -> ModelConfig:
    """Validate settings inferred from weights or a configuration.

    Raises:
        WeightsError: If this package has no such network.
    """
    try:
        return ModelConfig(**numbers)
    except ValidationError as error:
        raise WeightsError(describe(error, ModelConfig, "the network of the weights")) from None


def groups(config: ModelConfig) -> int:
    """Return the number of groups of all normalization layers, or 0 if they differ."""
    widths = (config.conv_in_channels, *config.widths)
    counts = {group_count(width, config.norm_groups) for width in widths}
    return counts.pop() if len(counts) == 1 else 0


def length(tensor: torch.Tensor) -> int:
    """Return the size of the first axis, or 0 for a scalar, which no weight is."""
    return tensor.shape[0] if tensor.ndim else 0


def identity_kernel(like: torch.Tensor, channels: int, dims: int) -> torch.Tensor:
    """Return a 1-wide identity kernel for a linear layer or a convolution."""
    eye = torch.eye(channels, dtype=like.dtype)
    return eye.reshape(channels, channels, *(1,) * dims)


def is_identity(weight: torch.Tensor, bias: torch.Tensor) -> bool:
    """Return true if a 1-wide kernel and its bias are the identity."""
    eye = torch.eye(*weight.shape[:2], dtype=weight.dtype)
    return torch.equal(weight.reshape(eye.shape), eye) and not bias.any()


def _widths(conv_in_channels: int, widths: tuple[int, ...]) -> dict[str, Any]:
    if all(width % conv_in_channels == 0 for width in widths):
        return {
            "base_ch": conv_in_channels,
            "ch_mult": tuple(width // conv_in_channels for width in widths),
        }
    if conv_in_channels == widths[0]:
        return {"down_channels": widths}
    raise WeightsError(
        f"a first convolution of {conv_in_channels} channels before levels of {widths} is not "
        "supported: it must divide each of them or equal the first"
    )


def _same(blocks: tuple[int, ...]) -> int | tuple[int, ...]:
    return blocks[0] if len(set(blocks)) == 1 else blocks


def _unless_one_more(
    encoder: tuple[int, ...], decoder: tuple[int, ...]
) -> int | tuple[int, ...] | None:
    return None if decoder == tuple(n + 1 for n in encoder) else _same(decoder)


def _kernel(state: State, name: str) -> tuple[int, ...]:
    if name not in state:
        raise WeightsError(f"the weights have no {name}")
    shape = tuple(state[name].shape)
    if not 3 <= len(shape) <= 5 or min(shape) < 1:
        raise WeightsError(f"{name} is not the kernel of a convolution, its shape is {shape}")
    return shape
