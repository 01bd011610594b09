"""The feature maps of a network as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from ct_vae.models.stages import Shape


@dataclass(frozen=True)
class Stage:
    """One row of a model's description; ``side`` is that of a feature map at the resolution."""

    name: str
    channels: int
    factor: int
    side: int
    attention: bool


def feature_maps(shape: Shape, latent_channels: int, resolution: int) -> list[Stage]:
    """What follows the blocks of every level, from image to latent and back.

    Args:
        shape: Of the network.
        latent_channels: Numbers per latent voxel.
        resolution: Side of the image, a multiple of the factor.
    """

    def row(name: str, channels: int, factor: int, attention: bool) -> Stage:
        return Stage(name, channels, factor, resolution // factor, attention)

    levels = list(enumerate(zip(shape.channels, shape.attention, strict=True)))
    down = [row(f"encoder.down.{i}", width, 2**i, attn) for i, (width, attn) in levels]
    up = [row(f"decoder.up.{i}", width, 2**i, attn) for i, (width, attn) in reversed(levels)]
    bottom = shape.channels[-1], shape.factor, shape.mid_attn
    latent = row("latent", latent_channels, shape.factor, False)
    return [*down, row("encoder.mid", *bottom), latent, row("decoder.mid", *bottom), *up]
