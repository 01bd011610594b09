"""Section ``model``: the validated architecture."""

from __future__ import annotations

from math import prod
from typing import Any

from pydantic import model_validator

from ct_vae.config.architecture import Architecture
from ct_vae.config.codes import DEFAULT_LEVELS, check_codes, codes_of

# Fields that have no effect on the other model types.
_QUANTIZED_ONLY = ("quantizer", "levels", "codebook_decay", "normalize_codes")
_MAGVIT_ONLY = ("causal_axis", "downsample_mode")
_KL_ONLY = ("stage_2_inputs",)
_NOT_MAGVIT = ("patch_size", "linear_skip", "refine_channels")


class ModelConfig(Architecture):
    """A validated architecture, with the defaults of its quantizer filled in.

    Raises:
        ValidationError: If a value is out of range or contradicts another.
    """

    @model_validator(mode="after")
    def _fill(self) -> ModelConfig:
        """Fill in the defaults of the quantizer, so that a resolved configuration contains them."""
        if self.latent_type == "kl":
            return self
        kind = self.quantizer or ("ema" if self.latent_type == "vq" else "fsq")
        given = {name: getattr(self, name) for name in self.model_fields_set}
        width, size = codes_of(kind, self.levels, given.get("embed_dim"))
        follows = {"double_z": False, "embed_dim": width, "codebook_size": size}
        filled: dict[str, Any] = {**follows, **given, "quantizer": kind}
        if kind == "fsq":
            filled["levels"] = self.levels or DEFAULT_LEVELS
        filled = {"z_channels": filled["embed_dim"]} | filled
        # A frozen model takes no assignment; this is still its construction.
        self.__dict__.update(filled)
        return self

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        self._check_kind()
        self._check_patch()
        self._check_steps()
        self._check_levels()
        self._check_widths()
        return self

    def _check_kind(self) -> None:
        kl, magvit = self.latent_type == "kl", self.latent_type == "magvit"
        foreign = (_QUANTIZED_ONLY if kl else _KL_ONLY) + (_NOT_MAGVIT if magvit else _MAGVIT_ONLY)
        fields = type(self).model_fields
        for name in foreign:
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"{name} has no effect with latent_type {self.latent_type!r}")
        if not kl and self.double_z:
            raise ValueError(f"double_z is for latent_type 'kl', not {self.latent_type!r}")
        if magvit and self.upsample_mode != "nearest":
            raise ValueError("upsample_mode has no effect with latent_type 'magvit'")
        if self.quantizer is not None:
            check_codes(
                self.quantizer,
                self.levels,
                self.embed_dim,
                self.codebook_size,
                self.normalize_codes,
            )
        if self.tanh_out and self.output_activation == "sigmoid":
            raise ValueError("tanh_out contradicts output_activation 'sigmoid'")
        if self.norm != "group" and self.norm_groups is not None:
            raise ValueError(f"norm_groups has no effect with norm {self.norm!r}")
        if self.causal_axis is not None:
            self._check_causal()

    def _check_patch(self) -> None:
        if len(self.patch_sides) != self.spatial_dims:
            raise ValueError(
                f"patch_size {list(self.patch_sides)} needs one side for each of "
                f"{self.spatial_dims} axes"
            )
        if not self.linear_skip:
            return
        if self.z_channels != self.embed_dim:
            raise ValueError(
                f"linear_skip needs z_channels {self.z_channels} equal to embed_dim "
                f"{self.embed_dim}: its outputs are the channels of the latent"
            )
        if self.latent_type == "kl" and not self.double_z:
            raise ValueError("linear_skip needs double_z true: log-variances are not mixed with it")
        if self.in_channels != self.out_channels:
            raise ValueError(
                f"linear_skip needs as many image channels out as in, got {self.in_channels} in "
                f"and {self.out_channels} out"
            )
        if self.embed_dim > prod(self.factor) * self.in_channels:
            raise ValueError(
                f"linear_skip: embed_dim {self.embed_dim} exceeds the "
                f"{prod(self.factor) * self.in_channels} values of a block of {list(self.factor)}"
            )

    def _check_causal(self) -> None:
        if self.causal_axis is not None and self.causal_axis >= self.spatial_dims:
            raise ValueError(
                f"causal_axis {self.causal_axis} is not one of the {self.spatial_dims} axes"
            )
        if self.norm == "group" or self.middle_attends or self.attention_factors:
            raise ValueError(
                "a model with causal_axis needs norm 'rms' or 'layer', mid_attn false and no "
                "attn_resolutions: group normalization and attention mix all voxels"
            )
        if self.padding_mode in {"reflect", "circular"}:
            raise ValueError(
                f"padding_mode {self.padding_mode!r} breaks causality along "
                "causal_axis; choose 'zeros' or 'replicate'"
            )

    def _check_steps(self) -> None:
        needed = len(self.widths) - 1
        if len(self.level_strides) != needed:
            raise ValueError(
                f"strides has {len(self.level_strides)} steps, {needed + 1} levels need {needed}"
            )
        for step in self.level_strides:
            if len(step) != self.spatial_dims or max(step) == 1:
                raise ValueError(
                    f"strides: each step has a stride of 1 or 2 for each of {self.spatial_dims} "
                    f"axes, not all of them 1, got {list(step)}"
                )

    def _check_levels(self) -> None:
        for name in ("num_res_blocks", "decoder_blocks"):
            blocks = getattr(self, name)
            if isinstance(blocks, tuple) and len(blocks) != len(self.widths):
                raise ValueError(
                    f"{name} has {len(blocks)} entries, there are {len(self.widths)} levels"
                )
        factors = [max(factor) for factor in self.factors]
        strange = sorted(set(self.attention_factors) - set(factors))
        if strange:
            raise ValueError(
                f"attn_resolutions {strange} do not occur, the factors of the levels are {factors}"
            )
        if self.resolution % factors[-1]:
            raise ValueError(
                f"resolution {self.resolution} is not a multiple of the factor {factors[-1]}; it "
                "is only the size for which feature map sizes are reported, choose any multiple"
            )

    def _check_widths(self) -> None:
        # A resolved configuration holds every key, so the default of ch_mult is no contradiction.
        given = self.ch_mult != type(self).model_fields["ch_mult"].default
        if self.down_channels and given and len(self.down_channels) != len(self.ch_mult):
            raise ValueError(
                f"down_channels has {len(self.down_channels)} levels and ch_mult "
                f"{len(self.ch_mult)}; leave one out, or give both as many entries"
            )
        groups = self.norm_groups or 1
        uneven = [w for w in (self.conv_in_channels, *self.widths) if w % groups]
        if uneven:
            raise ValueError(f"norm_groups {groups} does not divide the widths {uneven}")
