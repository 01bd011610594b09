"""Create the quantizer of an architecture."""

from __future__ import annotations

from ct_vae.config.model import ModelConfig
from ct_vae.models.quantizers.ema_codebook import EMACodebook
from ct_vae.models.quantizers.finite_scalar import FiniteScalar
from ct_vae.models.quantizers.lookup_free import LookupFree
from ct_vae.models.quantizers.quantized import Quantizer


def make_quantizer(config: ModelConfig) -> Quantizer:
    """Create the quantizer of a model with codes."""
    if config.quantizer == "ema":
        return EMACodebook(
            config.codebook_size,
            config.embed_dim,
            decay=config.codebook_decay,
            normalize=config.normalize_codes,
        )
    assert config.quantizer is not None
    return LookupFree(config.embed_dim) if config.levels is None else FiniteScalar(config.levels)
