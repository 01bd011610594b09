"""Bit rate of latents."""

from __future__ import annotations

from math import log2, prod

from ct_vae.config.model import ModelConfig

# Latents are stored as int16 by default.
_STORED_BITS = 16


def bits_per_voxel(config: ModelConfig) -> float:
    """Return the bits of a latent per voxel of the image, without entropy coding.

    Continuous latents have 16 bits per value, codes the binary logarithm of the codebook size.
    """
    codes = config.latent_type != "kl"
    bits = log2(config.codebook_size) if codes else _STORED_BITS * config.latent_channels
    return bits / prod(config.factor)
