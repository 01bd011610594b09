"""The feature maps of a network as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from ct_vae.models.shape import Shape


@dataclass(frozen=True)
class Stage:
    """One row of a model's description; ``sides`` are those of a map at the resolution."""

    name: str
    channels: int
    factor: tuple[int, ...]
    sides: tuple[int, ...]
    attention: bool


def feature_maps(shape: Shape, latent_channels: int, resolution: int) -> list[Stage]:
    """What follows the blocks of every level, from image to latent and back.

    Args:
        shape: Of the network.
        latent_channels: Numbers per latent voxel.
        resolution: Side of the image, a multiple of the factor.
    """

    def row(name: str, channels: int, level: int, attention: bool) -> Stage:
        factor = shape.factors[level]
        return Stage(name, channels, factor, tuple(resolution // f for f in factor), attention)

    levels = list(enumerate(zip(shape.channels, shape.attention, strict=True)))
    down = [row(f"encoder.down.{i}", width, i, attn) for i, (width, attn) in levels]
    up = [row(f"decoder.up.{i}", width, i, attn) for i, (width, attn) in reversed(levels)]
    last, bottom = len(levels) - 1, shape.channels[-1]
    sides = (("encoder.mid", shape.encoder_mid), ("decoder.mid", shape.decoder_mid))
    before, after = ([row(n, bottom, last, shape.mid_attn)] if here else [] for n, here in sides)
    return [*down, *before, row("latent", latent_channels, last, False), *after, *up]
