"""Base class of checkpoint formats for import and export of weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

import torch

from ct_vae.blocks.norm import EPS
from ct_vae.config.model import ModelConfig
from ct_vae.convert_weights.architecture import (
    Side,
    State,
    checked,
    combine,
    groups,
)
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.models.autoencoder import LATENT_SCALE

Form = Literal["compvis", "diffusers", "monai", "maisi"]


@dataclass
class ConversionReport:
    """Facts and assumptions of an import, one sentence each.

    Attributes:
        lines: Sentences in order.
    """

    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Add a sentence."""
        self.lines.append(line)


class CheckpointFormat(ABC):
    """Checkpoint format of another program.

    Canonical weights have the current names of the format and one tensor for each tensor of this
    package.

    Attributes:
        form: Short name.
        title: Name in messages.
        takes: Keys of the format's configuration that are read, checked, or known to have no
            effect.
        model_range: Range of the format's images, or ``None`` if it varies.
    """

    form: ClassVar[Form]
    title: ClassVar[str]
    takes: ClassVar[frozenset[str]]
    model_range: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def to_canonical(self, state: State, report: ConversionReport) -> dict[str, torch.Tensor]:
        """Convert weights to canonical ones."""

    @abstractmethod
    def sides(self, state: State) -> tuple[dict[str, Any], Side, Side]:
        """Infer dimensions and channels, encoder, and decoder from canonical weights."""

    @abstractmethod
    def settings(
        self, config: Mapping[str, Any], dims: int, report: ConversionReport
    ) -> dict[str, Any]:
        """Return settings that only the configuration or conventions determine."""

    @abstractmethod
    def name(self, own: str, config: ModelConfig) -> str:
        """Return the canonical name of a parameter of this package."""

    @abstractmethod
    def linear(self, own: str) -> bool:
        """Return true if the format has a linear layer instead of a 1-wide convolution."""

    @abstractmethod
    def from_canonical(self, state: State) -> dict[str, torch.Tensor]:
        """Convert canonical weights to those that the format stores."""

    @abstractmethod
    def describe(self, config: ModelConfig, state: State, scale: float) -> dict[str, Any]:
        """Return the format's configuration of a network with weights ``state``."""

    @abstractmethod
    def limits(self, config: ModelConfig) -> list[str]:
        """Return the features of a network that the format lacks, as phrases."""

    def flatten(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration without nesting and with one number per level."""
        return dict(config)

    def forgiven(self, config: ModelConfig) -> frozenset[str]:  # noqa: ARG002 - for peers to use
        """Return the configuration keys that have no effect for such a network."""
        return frozenset()

    def read(self, state: State, given: Mapping[str, Any], report: ConversionReport) -> ModelConfig:
        """Infer the configuration of canonical weights.

        Args:
            state: Canonical weights.
            given: Flattened configuration of the format.
            report: Report that assumptions are added to.

        Raises:
            WeightsError: If a key is unknown, or if this package has no such network.
        """
        unknown = sorted(k for k in given if k not in self.takes and not k.startswith("_"))
        if unknown:
            raise WeightsError(
                f"the {self.title} configuration has unknown keys: {', '.join(unknown)}",
                "remove them if they have no effect",
            )
        ends, encoder, decoder = self.sides(state)
        numbers = combine(ends, encoder, decoder)
        settings = self.settings(given, numbers["spatial_dims"], report)
        return checked({**numbers, **settings})

    def compare(self, config: ModelConfig, state: State, given: Mapping[str, Any]) -> None:
        """Check that a configuration does not contradict complete weights.

        Raises:
            WeightsError: If it does; the message lists all keys.
        """
        found = self.describe(config, self.from_canonical(state), LATENT_SCALE)
        skipped = self.forgiven(config) | {"scaling_factor", "scale_factor"}
        wrong = [
            f"{key} is {_plain(given[key])} in the configuration and {_plain(found[key])} in the "
            "weights"
            for key in sorted(given.keys() & found.keys() - skipped)
            if _plain(given[key]) != _plain(found[key])
        ]
        if wrong:
            raise WeightsError(
                f"{self.title} configuration and weights contradict each other: {'; '.join(wrong)}",
                "give the configuration of these weights",
            )


def latent_scale(given: Mapping[str, Any], report: ConversionReport) -> float:
    """Return the scaling factor of a configuration, or the default.

    Raises:
        WeightsError: If it is not a positive number.
    """
    for key in ("scaling_factor", "scale_factor"):
        if given.get(key) is not None:
            value = given[key]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < inf:
                raise WeightsError(f"{key} is a positive number, got {value!r}")
            report.say(f"read: latent {key} {value:g}")
            return float(value)
    report.say(
        f"assumed: latent scaling factor {LATENT_SCALE}, the default, which matters only for "
        "normalized latents"
    )
    return LATENT_SCALE


def latent_shift(given: Mapping[str, Any], report: ConversionReport) -> float:
    """Return the shift factor of a configuration, which is subtracted before scaling, or 0.

    Raises:
        WeightsError: If it is not a finite number.
    """
    value = given.get("shift_factor")
    if value is None:
        return 0.0
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not -inf < value < inf:
        raise WeightsError(f"shift_factor is a finite number, got {value!r}")
    report.say(f"read: latent shift_factor {value:g}, subtracted before scaling")
    return float(value)


def refuse_unless(given: Mapping[str, Any], key: str, allowed: Iterable[Any], default: Any) -> None:
    """Check that a configuration value is one that this package supports.

    Raises:
        WeightsError: If it is not.
    """
    value, allowed = given.get(key, default), list(allowed)
    if value not in allowed:
        raise WeightsError(
            f"{key} {value!r} is not supported, only {' or '.join(repr(a) for a in allowed)}"
        )


def check_eps(given: Mapping[str, Any], key: str) -> None:
    """Check that a normalization has the eps of this package.

    Raises:
        WeightsError: If it is not 1e-6.
    """
    refuse_unless(given, key, [EPS], EPS)


def integer(given: Mapping[str, Any], key: str, default: int) -> int:
    """Return a positive integer of a configuration.

    Raises:
        WeightsError: If the value is not a positive integer.
    """
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise WeightsError(f"{key} is a positive integer, got {value!r}")
    return value


def no_config(title: str, example: str) -> WeightsError:
    """Return the error for weights that need a configuration."""
    return WeightsError(
        f"{title} weights do not determine the number of groups of their normalizations; a wrong "
        "number would give wrong images without an error",
        "give the configuration of the weights (--config FILE in ct-vae convert), at least "
        f"{example}",
    )


def common_limits(config: ModelConfig) -> list[str]:
    """Return the features of a network that no other format has."""
    doubtful = {
        f"norm {config.norm!r}": config.norm != "group",
        "strides other than 2": any(n != 2 for step in config.level_strides for n in step),
        f"padding_mode {config.padding_mode!r}": config.padding_mode != "zeros",
        f"patch_size {list(config.patch_sides)}": max(config.patch_sides) > 1,
        "inner_norm false": not config.inner_norm,
        "a linear_skip": config.linear_skip,
        f"{config.refine_channels} refine_channels": config.refine_channels > 0,
        f"output_activation {config.output_activation!r}": config.output_activation == "sigmoid",
        "different numbers of groups by level": config.norm == "group" and not groups(config),
    }
    return [text for text, doubt in doubtful.items() if doubt]


def stable_diffusion_limits(config: ModelConfig) -> list[str]:
    """Return the features of a network that neither CompVis nor diffusers have."""
    encoder = config.encoder_blocks
    doubtful = {
        f"spatial_dims {config.spatial_dims}": config.spatial_dims != 2,
        f"num_res_blocks {encoder} that differ by level": len(set(encoder)) > 1,
        f"decoder_blocks {config.decoder_level_blocks}, not one more than the encoder's": (
            config.decoder_level_blocks != tuple(n + 1 for n in encoder)
        ),
        "encoder_mid false": not config.encoder_mid,
        "decoder_mid false": not config.decoder_mid,
        "head_activation false": not config.head_activation,
        f"upsample_mode {config.upsample_mode!r}": config.upsample_mode != "nearest",
        "double_z false": not config.double_z,
    }
    return [text for text, doubt in doubtful.items() if doubt]


def refuse_limits(fmt: CheckpointFormat, config: ModelConfig) -> None:
    """Check that a format can store a network.

    Raises:
        ConfigError: If it cannot; the message lists all missing features.
    """
    limits = fmt.limits(config)
    if limits:
        raise ConfigError(
            f"{fmt.title} cannot store this network: {'; '.join(limits)}",
            "choose another format; any model can be packed with 'ct-vae bundle', or exported as "
            "a network without this package with 'ct-vae export' (TorchScript, ONNX)",
        )


def _plain(value: Any) -> Any:
    """Convert lists and tuples to lists."""
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
