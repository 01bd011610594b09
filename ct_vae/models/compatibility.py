"""Comparison of a network's architecture with the one that weights were trained in."""

from __future__ import annotations

from typing import Any

from ct_vae.blocks.norm import group_count
from ct_vae.config.model import ModelConfig
from ct_vae.errors import WeightsError


def check_compatible(config: ModelConfig, stored: ModelConfig, where: str) -> None:
    """Check that weights were trained in a network with the same behavior.

    Only settings are compared that change results but not the names and shapes of tensors, which
    are checked separately. Settings that matter only in training, such as dropout, are ignored.

    Args:
        config: Architecture of the network that loads the weights.
        stored: Architecture stored with the weights.
        where: Name of the weights in messages.

    Raises:
        WeightsError: If settings differ; the message lists all of them.
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
            f"{where} were trained in a network with other settings: {'; '.join(sorted(wrong))}",
            "use the settings with which they were trained",
        )


def _behavior(config: ModelConfig) -> dict[str, Any]:
    """Return the settings that change results but not the shapes of weights."""
    widths = (config.conv_in_channels, *config.widths)
    # Explicit and default numbers of groups may be equal.
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
