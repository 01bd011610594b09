"""Whether weights were trained in a network that computes as the one does that loads them."""

from __future__ import annotations

from typing import Any

from torch import nn

from ct_vae.blocks.norm import group_count
from ct_vae.config.model import ModelConfig
from ct_vae.errors import WeightsError
from ct_vae.models.quantizers import EMACodebook, FiniteScalar, LookupFree
from ct_vae.models.shape import Shape

_QUANTIZERS = {EMACodebook: "ema", FiniteScalar: "fsq", LookupFree: "lfq"}


def refuse_contradictions(
    shape: Shape, tanh_out: bool, quantizer: nn.Module | None, stored: ModelConfig, where: str
) -> None:
    """Refuse a stored configuration whose weights would fit and give something else.

    Only what changes results and not the shapes of weights is compared, since names and shapes of
    tensors tell the rest, and not what acts in training alone, such as dropout.

    Args:
        shape: Of the network that loads the weights.
        tanh_out: Whether its output goes through a hyperbolic tangent.
        quantizer: Of the network, if it has one.
        stored: Configuration that lies beside the weights.
        where: What the weights are called in messages.

    Raises:
        WeightsError: With every number that differs.
    """
    if len(shape.channels) != len(stored.widths):
        return
    here = _of_network(shape, tanh_out) | _of_quantizer(quantizer)
    there = _of_config(stored)
    wrong = [
        f"{name} is {there[name]} there and {here[name]} here"
        for name in here.keys() & there.keys()
        if here[name] != there[name]
    ]
    if wrong:
        raise WeightsError(
            f"{where} were trained in a network that contradicts this one: "
            f"{'; '.join(sorted(wrong))}",
            "give the numbers with which they were trained",
        )


def _of_network(shape: Shape, tanh_out: bool) -> dict[str, Any]:
    style = shape.style
    return {
        "norm": style.norm,
        "inner_norm": style.inner_norm,
        "norm_groups": _groups(style.norm, style.norm_groups, (shape.stem, *shape.channels)),
        "padding_mode": style.padding_mode,
        "causal_axis": style.causal_axis,
        "strides": shape.steps,
        "patch_size": shape.patch or (1,) * shape.spatial_dims,
        "attention at the levels": shape.attention,
        "mid_attn": shape.mid_attn and (shape.encoder_mid or shape.decoder_mid),
        "head_activation": shape.head_activation,
        "downsample_mode": shape.downsample_mode,
        "upsample_mode": shape.upsample_mode,
        "tanh_out": tanh_out,
        "output_activation": shape.output_activation,
    }


def _of_config(stored: ModelConfig) -> dict[str, Any]:
    subvoxel = stored.latent_type == "magvit"
    return {
        "norm": stored.norm,
        "inner_norm": stored.inner_norm,
        "norm_groups": _groups(stored.norm, stored.norm_groups, (stored.stem, *stored.widths)),
        "padding_mode": stored.padding_mode,
        "causal_axis": stored.causal_axis,
        "strides": stored.steps,
        "patch_size": stored.patch,
        "attention at the levels": tuple(
            max(factor) in stored.attn_resolutions for factor in stored.factors
        ),
        "mid_attn": stored.mid_attn and (stored.encoder_mid or stored.decoder_mid),
        "head_activation": stored.head_activation,
        "downsample_mode": stored.downsample_mode,
        "upsample_mode": "subvoxel" if subvoxel else stored.upsample_mode,
        "tanh_out": stored.tanh_out,
        "output_activation": stored.output_activation or "identity",
        "quantizer": stored.quantizer,
        "levels": stored.levels,
        "normalize_codes": stored.normalize_codes,
    }


def _of_quantizer(quantizer: nn.Module | None) -> dict[str, Any]:
    if quantizer is None:
        return {"quantizer": None}
    return {
        "quantizer": _QUANTIZERS[type(quantizer)],  # type: ignore[index]
        "levels": quantizer.levels if isinstance(quantizer, FiniteScalar) else None,
        "normalize_codes": isinstance(quantizer, EMACodebook) and quantizer.normalize,
    }


def _groups(norm: str, groups: int | None, widths: tuple[int, ...]) -> tuple[int, ...] | None:
    """Of each normalisation: what is given and what follows from the width may be the same."""
    return tuple(group_count(width, groups) for width in widths) if norm == "group" else None
