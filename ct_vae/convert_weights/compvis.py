"""CompVis: latent-diffusion and Stable Diffusion checkpoints, with the names of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ct_vae.blocks.norm import MOST_GROUPS
from ct_vae.config.model import ModelConfig
from ct_vae.convert_weights.architecture import (
    Ends,
    Side,
    SideNames,
    State,
    groups,
    identity_kernel,
)
from ct_vae.convert_weights.checkpoint_format import (
    CheckpointFormat,
    ConversionReport,
    Form,
    common_limits,
    integer,
    refuse_unless,
    stable_diffusion_limits,
)
from ct_vae.errors import WeightsError

ENDS = Ends(
    encoder_in="encoder.conv_in.weight",
    encoder_out="encoder.conv_out.weight",
    decoder_in="decoder.conv_in.weight",
    decoder_out="decoder.conv_out.weight",
    quant="quant_conv.weight",
    post_quant="post_quant_conv.weight",
)
_ENCODER = SideNames(
    block=r"encoder\.down\.(\d+)\.block\.(\d+)\.conv1\.weight",
    attention=r"encoder\.down\.(\d+)\.attn\.\d+\.q\.weight",
    middle="encoder.mid.block_1.conv1.weight",
    attends="encoder.mid.attn_1.q.weight",
)
_DECODER = SideNames(
    block=r"decoder\.up\.(\d+)\.block\.(\d+)\.conv1\.weight",
    attention=r"decoder\.up\.(\d+)\.attn\.\d+\.q\.weight",
    middle="decoder.mid.block_1.conv1.weight",
    attends="decoder.mid.attn_1.q.weight",
)
_KEYS = (
    "ch ch_mult num_res_blocks attn_resolutions attn_type resolution in_channels out_ch "
    "z_channels double_z embed_dim dropout tanh_out give_pre_end use_linear_attn "
    "resamp_with_conv num_groups scale_factor monitor ckpt_path lossconfig image_key "
    "ignore_keys colorize_nlabels use_ema learn_logvar"
)
# Keys next to ``params`` in a configuration of latent diffusion.
_AROUND = ("target", "_target_", "base_learning_rate")


class CompVis(CheckpointFormat):
    """``AutoencoderKL`` of latent diffusion (Rombach et al. 2022)."""

    form: ClassVar[Form] = "compvis"
    title: ClassVar[str] = "CompVis (latent diffusion)"
    model_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    takes: ClassVar[frozenset[str]] = frozenset(_KEYS.split())

    def to_canonical(self, state: State, report: ConversionReport) -> dict[str, torch.Tensor]:
        """Add identity convolutions around the latent, which later CompVis checkpoints omit."""
        return with_identities(state, report)

    def sides(self, state: State) -> tuple[dict[str, Any], Side, Side]:
        """Infer the architecture from the names."""
        return ENDS.read(state), _ENCODER.read(state), _DECODER.read(state)

    def flatten(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Flatten ``model``, ``params`` and the nested ``ddconfig``."""
        if isinstance(config.get("model"), Mapping):
            config = config["model"]
        outer = {k: v for k, v in config.items() if k not in _AROUND}
        outer |= _mapping("params", outer.pop("params", {}))
        inner = _mapping("ddconfig", outer.pop("ddconfig", {}))
        flat = {**outer, **inner}
        if flat.get("attn_type") == "vanilla-xformers":
            flat["attn_type"] = "vanilla"
        if isinstance(flat.get("attn_resolutions"), list | tuple):
            # CompVis ignores resolutions that do not occur.
            side = integer(flat, "resolution", 256)
            sides = [side // 2**level for level in range(8)]
            flat["attn_resolutions"] = [n for n in sides if n in flat["attn_resolutions"]]
        return flat

    def settings(
        self, config: Mapping[str, Any], dims: int, report: ConversionReport
    ) -> dict[str, Any]:
        """Return the settings that CompVis fixes, such as 32 groups."""
        described = {"ch", "z_channels"} <= config.keys()
        if dims != 2 and "num_groups" not in config and not described:
            raise WeightsError(
                f"CompVis names in {dims} dimensions: CompVis's own networks have 2, so the number "
                "of groups of the normalizations is unknown",
                'give a configuration with "num_groups", or the ddconfig of the network',
            )
        for key, usual in (
            ("give_pre_end", False),
            ("use_linear_attn", False),
            ("resamp_with_conv", True),
        ):
            refuse_unless(config, key, [usual], usual)
        refuse_unless(config, "attn_type", ["vanilla", "none"], "vanilla")
        # MedVAE extends the code of CompVis to 3-D and keeps its groups.
        code = "CompVis's code" if dims == 2 else "the code of CompVis and MedVAE"
        report.say(
            f"assumed: {integer(config, 'num_groups', MOST_GROUPS)} groups, eps 1e-6, SiLU, "
            f"nearest upsampling, strides of 2, as in {code}"
        )
        return {
            "norm_groups": integer(config, "num_groups", MOST_GROUPS),
            "tanh_out": config.get("tanh_out", False),
            "dropout": config.get("dropout", 0.0),
            "resolution": integer(config, "resolution", 256),
        }

    def name(self, own: str, config: ModelConfig) -> str:  # noqa: ARG002 - ours are the same
        """Return the same name."""
        return own

    def linear(self, own: str) -> bool:  # noqa: ARG002 - there is none
        """Return false: CompVis has no linear layers."""
        return False

    def from_canonical(self, state: State) -> dict[str, torch.Tensor]:
        """Return the weights unchanged."""
        return dict(state)

    def describe(self, config: ModelConfig, state: State, scale: float) -> dict[str, Any]:  # noqa: ARG002
        """Return ``ddconfig`` and ``embed_dim``, flattened."""
        attending = [config.resolution // 2**i for i, on in _enumerate_attention(config) if on]
        return {
            "ch": config.conv_in_channels,
            "ch_mult": [width // config.conv_in_channels for width in config.widths],
            "num_res_blocks": config.encoder_blocks[0],
            "attn_resolutions": attending,
            "attn_type": "vanilla" if config.mid_attn else "none",
            "resolution": config.resolution,
            "in_channels": config.in_channels,
            "out_ch": config.out_channels,
            "z_channels": config.z_channels,
            "double_z": config.double_z,
            "embed_dim": config.embed_dim,
            "dropout": config.dropout,
            "tanh_out": config.tanh_out,
            "scale_factor": scale,
        }

    def limits(self, config: ModelConfig) -> list[str]:
        """Require 2-D, 32 groups, equal blocks per level and both middle stages."""
        first = config.conv_in_channels
        doubtful = {
            f"{groups(config)} groups instead of {MOST_GROUPS}": (
                config.norm == "group" and groups(config) not in (0, MOST_GROUPS)
            ),
            f"widths {config.widths} that are no multiples of the first convolution's {first}": any(
                width % first for width in config.widths
            ),
            "attention in levels but not in the middle": (
                bool(config.attn_resolutions) and not config.mid_attn
            ),
        }
        own = [text for text, doubt in doubtful.items() if doubt]
        return common_limits(config) + stable_diffusion_limits(config) + own


def with_identities(state: State, report: ConversionReport) -> dict[str, torch.Tensor]:
    """Add identity convolutions around the latent where they are missing."""
    result = dict(state)
    for name, side, axis in (
        ("quant_conv", ENDS.encoder_out, 0),
        ("post_quant_conv", ENDS.decoder_in, 1),
    ):
        if any(key.startswith(f"{name}.") for key in state) or side not in state:
            continue
        like = state[side]
        channels = like.shape[axis] if like.ndim > 2 else 0
        result[f"{name}.weight"] = identity_kernel(like, channels, like.ndim - 2)
        result[f"{name}.bias"] = torch.zeros(channels, dtype=like.dtype)
        report.say(f"read: there is no {name}; an identity is used instead")
    return result


def _mapping(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise WeightsError(f"{key} must be a mapping, got {value!r}")
    return dict(value)


def _enumerate_attention(config: ModelConfig) -> list[tuple[int, bool]]:
    return list(enumerate(config.level_attention))
