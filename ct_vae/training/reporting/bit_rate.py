"""How many bits a latent takes."""

from __future__ import annotations

from math import log2, prod

from ct_vae.config.model import ModelConfig

# Latents are stored as int16 unless float32 is asked for.
_STORED_BITS = 16


def bits_per_voxel(config: ModelConfig) -> float:
    """Bits of a latent for each voxel of the image, before any entropy coding.

    Continuous latents take 16 bits for each number, codes the logarithm of the codebook's size.
    """
    codes = config.latent_type != "kl"
    bits = log2(config.codebook_size) if codes else _STORED_BITS * config.latent_channels
    return bits / prod(config.factor)
