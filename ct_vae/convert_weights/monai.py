"""``AutoencoderKL`` of MONAI and its variant for large volumes, ``AutoencoderKlMaisi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from ct_vae.config.model import ModelConfig
from ct_vae.convert_weights.architecture import (
    Ends,
    Side,
    State,
    groups,
    is_identity,
)
from ct_vae.convert_weights.checkpoint_format import (
    CheckpointFormat,
    ConversionReport,
    Form,
    check_eps,
    common_limits,
    integer,
    no_config,
    refuse_unless,
)
from ct_vae.convert_weights.monai_names import modernize
from ct_vae.convert_weights.monai_sequence import (
    last_unit,
    parameter_name,
    read_side,
    unit_names,
)
from ct_vae.errors import WeightsError

_SHARED_KEYS = (
    "spatial_dims in_channels out_channels num_res_blocks attention_levels latent_channels "
    "norm_num_groups norm_eps with_encoder_nonlocal_attn with_decoder_nonlocal_attn include_fc "
    "use_combined_linear use_flash_attention use_checkpoint use_checkpointing use_convtranspose "
    "scale_factor num_channels"
)
_SPLITTING_KEYS = "num_splits dim_split norm_float16 print_info save_mem"
_OUT = ".attn.out_proj"


class Monai(CheckpointFormat):
    """Network of MONAI: flat lists of units, without SiLU before the last convolutions."""

    form: ClassVar[Form] = "monai"
    title: ClassVar[str] = "MONAI"
    takes: ClassVar[frozenset[str]] = frozenset([*_SHARED_KEYS.split(), "channels"])
    # Upsampling mode, argument name of the channels, and true if convolutions are nested deeper.
    upsampling: ClassVar[str] = "nearest"
    widths_key: ClassVar[str] = "channels"
    wrapped: ClassVar[bool] = False

    def to_canonical(self, state: State, report: ConversionReport) -> dict[str, torch.Tensor]:
        """Convert to current names, and merge the convolutions of means and log-variances."""
        return modernize(state, self.wrapped, report)

    def sides(self, state: State) -> tuple[dict[str, Any], Side, Side]:
        """Infer the architecture from the order of units."""
        conv = "conv.conv.weight" if self.wrapped else "conv.weight"
        ends = Ends(
            encoder_in=f"encoder.blocks.0.{conv}",
            encoder_out=f"encoder.blocks.{last_unit(state, 'encoder')}.{conv}",
            decoder_in=f"decoder.blocks.0.{conv}",
            decoder_out=f"decoder.blocks.{last_unit(state, 'decoder')}.{conv}",
            quant="quant_conv.conv.weight",
            post_quant="post_quant_conv.conv.weight",
        )
        return ends.read(state), read_side(state, "encoder"), read_side(state, "decoder")

    def flatten(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Rename the channels of MONAI Generative; expand the blocks to a number per level."""
        flat = dict(config)
        if "num_channels" in flat and self.widths_key not in flat:
            flat[self.widths_key] = flat.pop("num_channels")
        blocks = flat.get("num_res_blocks")
        if isinstance(blocks, int) and isinstance(flat.get(self.widths_key), list | tuple):
            flat["num_res_blocks"] = [blocks] * len(flat[self.widths_key])
        return flat

    def settings(
        self,
        config: Mapping[str, Any],
        dims: int,  # noqa: ARG002
        report: ConversionReport,
    ) -> dict[str, Any]:
        """Return the number of groups, from the configuration, and fixed settings."""
        if not config:
            raise no_config(self.title, '{"norm_num_groups": 32}')
        check_eps(config, "norm_eps")
        refuse_unless(config, "use_convtranspose", [False], False)
        if "norm_num_groups" not in config:
            report.say("assumed: norm_num_groups 32, MONAI's default, which config does not change")
        report.say(
            f"assumed: eps 1e-6, no SiLU before the last convolutions, {self.upsampling} "
            f"upsampling, strides of 2, as in the code of {self.title}"
        )
        return {
            "norm_groups": integer(config, "norm_num_groups", 32),
            "head_activation": False,
            "upsample_mode": self.upsampling,
        }

    def name(self, own: str, config: ModelConfig) -> str:
        """Return the name in MONAI: the number of the unit in its list, and the parameter in it."""
        part, _, rest = own.partition(".")
        if part not in ("encoder", "decoder"):
            return f"{part}.conv.{rest}"
        side = "encoder" if part == "encoder" else "decoder"
        for number, (unit, letter) in enumerate(unit_names(config, side)):  # type: ignore[arg-type]
            if rest.startswith(f"{unit}."):
                # MAISI uses MONAI's blocks in the middle stage.
                wrapped = self.wrapped and not unit.startswith("mid.")
                inner = parameter_name(rest[len(unit) + 1 :], letter, side, wrapped)  # type: ignore[arg-type]
                return f"{part}.blocks.{number}.{inner}"
        raise AssertionError(f"no unit of MONAI's has our {own}")

    def linear(self, own: str) -> bool:
        """Return true for attention layers."""
        layer = own.rsplit(".", 2)[-2]
        return layer in ("q", "k", "v", "proj_out") and own.endswith("weight")

    def from_canonical(self, state: State) -> dict[str, torch.Tensor]:
        """Split means and log-variances, and remove identity projections of attention."""
        result = dict(state)
        for last in ("weight", "bias"):
            both = result.pop(f"quant_conv.conv.{last}")
            means, log_variances = both.chunk(2)
            result[f"quant_conv_mu.conv.{last}"] = means
            result[f"quant_conv_log_sigma.conv.{last}"] = log_variances
        layers = [
            name.removesuffix(".weight") for name in result if name.endswith(f"{_OUT}.weight")
        ]
        if all(is_identity(result[f"{n}.weight"], result[f"{n}.bias"]) for n in layers):
            for layer in layers:
                del result[f"{layer}.weight"], result[f"{layer}.bias"]
        return result

    def describe(self, config: ModelConfig, state: State, scale: float) -> dict[str, Any]:  # noqa: ARG002
        """Return the arguments of the constructor."""
        return {
            "spatial_dims": config.spatial_dims,
            "in_channels": config.in_channels,
            "out_channels": config.out_channels,
            "num_res_blocks": list(config.encoder_blocks),
            self.widths_key: list(config.widths),
            "attention_levels": list(config.level_attention),
            "latent_channels": config.embed_dim,
            "norm_num_groups": groups(config),
            "norm_eps": 1e-6,
            "with_encoder_nonlocal_attn": config.encoder_mid,
            "with_decoder_nonlocal_attn": config.decoder_mid,
            "include_fc": any(_OUT in name for name in state),
            "use_combined_linear": False,
            "use_convtranspose": False,
        }

    def forgiven(self, config: ModelConfig) -> frozenset[str]:
        """Ignore settings of attention layers if there are none."""
        attends = any(config.level_attention) or config.encoder_mid or config.decoder_mid
        return frozenset({"use_combined_linear"} | (set() if attends else {"include_fc"}))

    def limits(self, config: ModelConfig) -> list[str]:
        """Require no SiLU before the last convolutions and equal blocks in encoder and decoder."""
        encoder, first = config.encoder_blocks, config.conv_in_channels
        doubtful = {
            f"decoder_blocks {config.decoder_level_blocks} other than the encoder's {encoder}": (
                config.decoder_level_blocks != encoder
            ),
            "head_activation true": config.head_activation,
            f"upsample_mode {config.upsample_mode!r}": config.upsample_mode != self.upsampling,
            "double_z true": config.double_z,
            "a middle without attention": (
                (config.encoder_mid or config.decoder_mid) and not config.mid_attn
            ),
            f"embed_dim {config.embed_dim} other than z_channels {config.z_channels}": (
                config.embed_dim != config.z_channels
            ),
            f"a first convolution of {first} channels before a level of {config.widths[0]}": (
                first != config.widths[0]
            ),
            "tanh_out": config.tanh_out,
        }
        return common_limits(config) + [text for text, doubt in doubtful.items() if doubt]


class Maisi(Monai):
    """Network of MONAI with trilinear upsampling, in 3-D only."""

    form: ClassVar[Form] = "maisi"
    title: ClassVar[str] = "MAISI"
    model_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    takes: ClassVar[frozenset[str]] = frozenset([*_SHARED_KEYS.split(), *_SPLITTING_KEYS.split()])
    upsampling: ClassVar[str] = "linear"
    widths_key: ClassVar[str] = "num_channels"
    wrapped: ClassVar[bool] = True

    def settings(
        self, config: Mapping[str, Any], dims: int, report: ConversionReport
    ) -> dict[str, Any]:
        """Return the settings of MONAI; options that only split the computation are ignored."""
        if dims != 3:
            raise WeightsError(f"MAISI networks have 3 dimensions, these weights {dims}")
        if config.get("norm_float16"):
            report.say("read: norm_float16, which rounds feature maps to half precision; ignored")
        return super().settings(config, dims, report)

    def limits(self, config: ModelConfig) -> list[str]:
        """Require 3-D in addition to the limits of MONAI."""
        dims = config.spatial_dims
        return super().limits(config) + ([f"spatial_dims {dims}"] if dims != 3 else [])
