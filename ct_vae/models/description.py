"""Table of the feature maps of a network."""

from __future__ import annotations

from dataclasses import dataclass

from ct_vae.config.model import ModelConfig


@dataclass(frozen=True)
class Stage:
    """Feature map of a network; ``sides`` is its size for an image of side ``resolution``."""

    name: str
    channels: int
    factor: tuple[int, ...]
    sides: tuple[int, ...]
    attention: bool


def feature_maps(config: ModelConfig) -> list[Stage]:
    """List the feature maps after the blocks of every level, from image to latent and back."""

    def row(name: str, channels: int, level: int, attention: bool) -> Stage:
        factor = config.factors[level]
        return Stage(
            name, channels, factor, tuple(config.resolution // f for f in factor), attention
        )

    levels = list(enumerate(zip(config.widths, config.level_attention, strict=True)))
    down = [row(f"encoder.down.{i}", width, i, attn) for i, (width, attn) in levels]
    up = [row(f"decoder.up.{i}", width, i, attn) for i, (width, attn) in reversed(levels)]
    last, bottom = len(levels) - 1, config.widths[-1]
    sides = (("encoder.mid", config.encoder_mid), ("decoder.mid", config.decoder_mid))
    before, after = ([row(n, bottom, last, config.mid_attn)] if here else [] for n, here in sides)
    return [*down, *before, row("latent", config.latent_channels, last, False), *after, *up]
