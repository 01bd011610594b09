"""What a foreign format has to tell so that weights can go both ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

import torch

from ct_vae.blocks.norm import EPS
from ct_vae.config.model import ModelConfig
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.models.autoencoder import LATENT_SCALE
from ct_vae.models.convert.architecture import (
    Side,
    State,
    checked,
    combine,
    groups,
)

Form = Literal["compvis", "diffusers", "monai", "maisi"]


@dataclass
class Account:
    """What an import has found and assumed, in sentences for people.

    Attributes:
        lines: In the order in which they were found.
    """

    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Add a sentence."""
        self.lines.append(line)


class Peer(ABC):
    """A foreign format.

    Attributes:
        form: Its short name.
        title: Its name in messages.
        takes: Keys of its configuration that are read, checked, or known to change nothing.
        model_range: Values between which its images lie, or ``None`` where that differs.
    """

    form: ClassVar[Form]
    title: ClassVar[str]
    takes: ClassVar[frozenset[str]]
    model_range: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def unify(self, state: State, account: Account) -> dict[str, torch.Tensor]:
        """The same weights with today's names, one tensor for each of ours."""

    @abstractmethod
    def sides(self, state: State) -> tuple[dict[str, Any], Side, Side]:
        """What unified weights show: dimensions and channels, encoder, decoder."""

    @abstractmethod
    def settings(self, config: Mapping[str, Any], dims: int, account: Account) -> dict[str, Any]:
        """Numbers of ours that only the peer's configuration or convention tells."""

    @abstractmethod
    def name(self, own: str, config: ModelConfig) -> str:
        """The unified name of one of our parameters."""

    @abstractmethod
    def linear(self, own: str) -> bool:
        """Whether the peer has a linear layer where ours has a 1-wide convolution."""

    @abstractmethod
    def dismantle(self, state: State) -> dict[str, torch.Tensor]:
        """Unified weights as the peer keeps them."""

    @abstractmethod
    def describe(self, config: ModelConfig, state: State, scale: float) -> dict[str, Any]:
        """The peer's own configuration of a network whose weights it keeps as ``state``."""

    @abstractmethod
    def limits(self, config: ModelConfig) -> list[str]:
        """What of a network the peer does not have, as phrases."""

    def flatten(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The peer's configuration without nesting, numbers per level where it allows one."""
        return dict(config)

    def forgiven(self, config: ModelConfig) -> frozenset[str]:  # noqa: ARG002 - for peers to use
        """Keys of the peer's configuration that say nothing about such a network."""
        return frozenset()

    def read(self, state: State, given: Mapping[str, Any], account: Account) -> ModelConfig:
        """The configuration of ours that fits unified weights.

        Args:
            state: Unified weights.
            given: The peer's configuration, flattened.
            account: Told what was assumed.

        Raises:
            WeightsError: If a key is unknown, or if this package has no such network.
        """
        unknown = sorted(k for k in given if k not in self.takes and not k.startswith("_"))
        if unknown:
            raise WeightsError(
                f"the {self.title} configuration has keys that this package does not know: "
                f"{', '.join(unknown)}",
                "remove them if they change nothing",
            )
        ends, encoder, decoder = self.sides(state)
        numbers = combine(ends, encoder, decoder)
        settings = self.settings(given, numbers["spatial_dims"], account)
        return checked({**numbers, **settings})

    def compare(self, config: ModelConfig, state: State, given: Mapping[str, Any]) -> None:
        """Refuse a configuration that contradicts complete weights.

        Raises:
            WeightsError: With every key that does.
        """
        found = self.describe(config, self.dismantle(state), LATENT_SCALE)
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
                "give the configuration that belongs to the weights",
            )


def latent_scale(given: Mapping[str, Any], account: Account) -> float:
    """The factor that a configuration gives latents, or the usual one.

    Raises:
        WeightsError: If it is no positive number.
    """
    for key in ("scaling_factor", "scale_factor"):
        if given.get(key) is not None:
            value = given[key]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < inf:
                raise WeightsError(f"{key} is a positive number, got {value!r}")
            account.say(f"read: latent {key} {value:g}")
            return float(value)
    account.say(
        f"assumed: latent scaling factor {LATENT_SCALE}, as nothing tells another; it matters only "
        "to who asks for normalized latents"
    )
    return LATENT_SCALE


def refuse_unless(given: Mapping[str, Any], key: str, allowed: Iterable[Any], default: Any) -> None:
    """Refuse a value of a configuration that our networks do not have.

    Raises:
        WeightsError: With key, value and what there is.
    """
    value, allowed = given.get(key, default), list(allowed)
    if value not in allowed:
        raise WeightsError(
            f"{key} {value!r} is not in this package's networks, which have "
            f"{' or '.join(repr(a) for a in allowed)}"
        )


def check_eps(given: Mapping[str, Any], key: str) -> None:
    """Refuse a normalization with another eps.

    Raises:
        WeightsError: If it is not 1e-6.
    """
    refuse_unless(given, key, [EPS], EPS)


def integer(given: Mapping[str, Any], key: str, default: int) -> int:
    """A positive whole number of a configuration.

    Raises:
        WeightsError: If it is something else.
    """
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise WeightsError(f"{key} is a positive whole number, got {value!r}")
    return value


def no_config(title: str, example: str) -> WeightsError:
    """The refusal of weights whose configuration is needed."""
    return WeightsError(
        f"{title} weights do not tell the number of groups of their normalizations; a wrong one "
        "would give wrong images without an error",
        f"give the peer's configuration (--config FILE in ct-vae convert), at least {example}",
    )


def common_limits(config: ModelConfig) -> list[str]:
    """What of a network no peer has."""
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
    """What of a network neither CompVis nor diffusers have."""
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


def refuse_limits(peer: Peer, config: ModelConfig) -> None:
    """Refuse to export what a peer does not have.

    Raises:
        ConfigError: With everything that it does not have.
    """
    limits = peer.limits(config)
    if limits:
        raise ConfigError(
            f"{peer.title} has no network like this one: {'; '.join(limits)}",
            "choose another form",
        )


def _plain(value: Any) -> Any:
    """Lists and tuples alike."""
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
