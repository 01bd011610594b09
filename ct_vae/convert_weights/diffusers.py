"""``AutoencoderKL`` of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ct_vae.config.model import ModelConfig
from ct_vae.convert_weights.architecture import (
    Side,
    SideNames,
    State,
    groups,
    is_identity,
)
from ct_vae.convert_weights.checkpoint_format import (
    CheckpointFormat,
    ConversionReport,
    Form,
    common_limits,
    integer,
    no_config,
    refuse_unless,
    stable_diffusion_limits,
)
from ct_vae.convert_weights.compvis import ENDS, with_identities
from ct_vae.errors import WeightsError

_ENCODER = SideNames(
    block=r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv1\.weight",
    attention=r"encoder\.down_blocks\.(\d+)\.attentions\.\d+\.to_q\.weight",
    middle="encoder.mid_block.resnets.0.conv1.weight",
    attends="encoder.mid_block.attentions.0.to_q.weight",
)
_DECODER = SideNames(
    block=r"decoder\.up_blocks\.(\d+)\.resnets\.(\d+)\.conv1\.weight",
    attention=r"decoder\.up_blocks\.(\d+)\.attentions\.\d+\.to_q\.weight",
    middle="decoder.mid_block.resnets.0.conv1.weight",
    attends="decoder.mid_block.attentions.0.to_q.weight",
    coarsest_first=True,
)
# Names of an attention block's layers before diffusers 0.15.
_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_LAYER = re.compile(rf"(.*\.attentions\.\d+)\.({'|'.join(_OLD)})\.(weight|bias)")
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_LAYER = re.compile(r"\.attn(?:_1|\.\d+)\.(q|k|v|proj_out)\.weight$")
_TIED = ("DownEncoderBlock2D", "UpDecoderBlock2D")
_KEYS = (
    "in_channels out_channels down_block_types up_block_types block_out_channels "
    "layers_per_block act_fn latent_channels norm_num_groups sample_size scaling_factor "
    "shift_factor latents_mean latents_std force_upcast use_quant_conv use_post_quant_conv "
    "mid_block_add_attention"
)


class Diffusers(CheckpointFormat):
    """Network of CompVis with other names and linear attention layers."""

    form: ClassVar[Form] = "diffusers"
    title: ClassVar[str] = "diffusers"
    model_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    takes: ClassVar[frozenset[str]] = frozenset(_KEYS.split())

    def to_canonical(self, state: State, report: ConversionReport) -> dict[str, torch.Tensor]:
        """Rename old attention layers and add missing convolutions around the latent."""
        result: dict[str, torch.Tensor] = {}
        old = 0
        for name, tensor in state.items():
            match = _OLD_LAYER.fullmatch(name)
            new = f"{match[1]}.{_OLD[match[2]]}.{match[3]}" if match else name
            if new in result or (match and new in state):
                raise WeightsError(f"the weights contain {new} twice, by its old and its new name")
            old += match is not None
            result[new] = tensor
        if old:
            report.say(f"read: {old} attention tensors by their old names in diffusers")
        return with_identities(result, report)

    def sides(self, state: State) -> tuple[dict[str, Any], Side, Side]:
        """Infer the architecture from the names."""
        return ENDS.read(state), _ENCODER.read(state), _DECODER.read(state)

    def settings(
        self,
        config: Mapping[str, Any],
        dims: int,  # noqa: ARG002
        report: ConversionReport,
    ) -> dict[str, Any]:
        """Return the number of groups, which only the configuration contains."""
        if not config:
            raise no_config("diffusers", '{"norm_num_groups": 32}')
        refuse_unless(config, "_class_name", ["AutoencoderKL"], "AutoencoderKL")
        refuse_unless(config, "act_fn", ["silu", "swish"], "silu")
        for key in ("latents_mean", "latents_std"):
            if config.get(key):
                raise WeightsError(
                    f"{key} {config[key]!r}: latents that are scaled by channel are not supported",
                    "remove the key to convert the network without it",
                )
        if "norm_num_groups" not in config:
            report.say(
                "assumed: norm_num_groups 32, diffusers' default, which config does not change"
            )
        report.say("assumed: eps 1e-6, nearest upsampling, strides of 2, as in diffusers' code")
        return {"norm_groups": integer(config, "norm_num_groups", 32)}

    def name(self, own: str, config: ModelConfig) -> str:
        """Return the name in diffusers, where decoder levels are numbered from the coarsest."""
        side, *rest = own.split(".")
        if side not in ("encoder", "decoder"):
            return own
        part, *rest = rest
        if part == "norm_out":
            renamed = ["conv_norm_out", *rest]
        elif part == "mid":
            kind, number = rest[0].split("_")
            renamed = ["mid_block", *_unit(kind, int(number) - 1, rest[1:])]
        elif part in ("down", "up"):
            level = int(rest[0])
            # diffusers numbers the levels of the decoder from the coarsest.
            place = level if part == "down" else len(config.widths) - 1 - level
            unit = (
                [f"{part}samplers", "0", *rest[2:]]
                if rest[1].endswith("sample")
                else _unit(rest[1], int(rest[2]), rest[3:])
            )
            renamed = [f"{part}_blocks", str(place), *unit]
        else:
            return own
        return ".".join([side, *renamed])

    def linear(self, own: str) -> bool:
        """Return true for attention layers."""
        return _LAYER.search(own) is not None

    def from_canonical(self, state: State) -> dict[str, torch.Tensor]:
        """Remove identity convolutions around the latent."""
        result = dict(state)
        for name in ("quant_conv", "post_quant_conv"):
            if is_identity(result[f"{name}.weight"], result[f"{name}.bias"]):
                del result[f"{name}.weight"], result[f"{name}.bias"]
        return result

    def describe(self, config: ModelConfig, state: State, scale: float) -> dict[str, Any]:
        """Return ``config.json`` of diffusers."""
        attention = config.level_attention
        return {
            "_class_name": "AutoencoderKL",
            "in_channels": config.in_channels,
            "out_channels": config.out_channels,
            "down_block_types": [_kind(on, _TIED[0]) for on in attention],
            "up_block_types": [_kind(on, _TIED[1]) for on in reversed(attention)],
            "block_out_channels": list(config.widths),
            "layers_per_block": config.encoder_blocks[0],
            "act_fn": "silu",
            "latent_channels": config.embed_dim,
            "norm_num_groups": groups(config),
            "scaling_factor": scale,
            "use_quant_conv": "quant_conv.weight" in state,
            "use_post_quant_conv": "post_quant_conv.weight" in state,
            "mid_block_add_attention": config.mid_attn,
        }

    def forgiven(self, config: ModelConfig) -> frozenset[str]:  # noqa: ARG002 - always
        """Ignore ``act_fn``, since ``swish`` and ``silu`` are the same."""
        return frozenset({"act_fn"})

    def limits(self, config: ModelConfig) -> list[str]:
        """Add to the limits of CompVis one number of latent and of first channels."""
        first = config.conv_in_channels
        doubtful = {
            f"embed_dim {config.embed_dim} other than z_channels {config.z_channels}": (
                config.embed_dim != config.z_channels
            ),
            f"a first convolution of {first} channels before a level of {config.widths[0]}": (
                first != config.widths[0]
            ),
            "tanh_out": config.tanh_out,
        }
        own = [text for text, doubt in doubtful.items() if doubt]
        return common_limits(config) + stable_diffusion_limits(config) + own


def _kind(attends: bool, block: str) -> str:
    return f"Attn{block}" if attends else block


def _unit(kind: str, place: int, rest: list[str]) -> list[str]:
    """Return the names of a residual or attention block and of the parameter in it."""
    if kind == "attn":
        return ["attentions", str(place), _ATTENTION[rest[0]], *rest[1:]]
    layer = "conv_shortcut" if rest[0] == "nin_shortcut" else rest[0]
    return ["resnets", str(place), layer, *rest[1:]]
