"""Comparing the architecture of a network with the one that weights were trained in."""

from __future__ import annotations

from typing import Any

from ct_vae.blocks.norm import group_count
from ct_vae.config.model import ModelConfig
from ct_vae.errors import WeightsError


def check_compatible(config: ModelConfig, stored: ModelConfig, where: str) -> None:
    """Refuse weights that would fit a network and give something else in it.

    Only numbers that change results and not the shapes of weights are compared, since names and
    shapes of tensors tell the rest, and not those that act in training alone, such as dropout.

    Args:
        config: Of the network that loads the weights.
        stored: Stored beside the weights.
        where: Name of the weights in messages.

    Raises:
        WeightsError: With every number that differs.
    """
    if len(config.widths) != len(stored.widths):
        return
    here, there = _behavior(config), _behavior(stored)
    wrong = [
        f"{name} is {there[name]} there and {here[name]} here"
        for name in here
        if here[name] != there[name]
    ]
    if wrong:
        raise WeightsError(
            f"{where} were trained in a network that contradicts this one: "
            f"{'; '.join(sorted(wrong))}",
            "give the numbers with which they were trained",
        )


def _behavior(config: ModelConfig) -> dict[str, Any]:
    """Return what changes results and leaves the shapes of weights as they are."""
    widths = (config.conv_in_channels, *config.widths)
    # Groups that are given and those that follow from the width may be the same.
    groups = tuple(group_count(width, config.norm_groups) for width in widths)
    subvoxel = config.latent_type == "magvit"
    return {
        "norm": config.norm,
        "inner_norm": config.inner_norm,
        "norm_groups": groups if config.norm == "group" else None,
        "padding_mode": config.padding_mode,
        "causal_axis": config.causal_axis,
        "strides": config.level_strides,
        "patch_size": config.patch_sides,
        "attention at the levels": config.level_attention,
        "mid_attn": config.middle_attends,
        "head_activation": config.head_activation,
        "downsample_mode": config.downsample_mode,
        "upsample_mode": "subvoxel" if subvoxel else config.upsample_mode,
        "tanh_out": config.tanh_out,
        "output_activation": config.output_activation or "identity",
        "quantizer": config.quantizer,
        "levels": config.levels,
        "normalize_codes": config.normalize_codes,
    }
