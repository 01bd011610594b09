"""Quantizers from continuous latents to codes of a finite codebook and back."""

from ct_vae.models.quantizers.ema_codebook import EMACodebook
from ct_vae.models.quantizers.finite_scalar import FiniteScalar
from ct_vae.models.quantizers.lookup_free import LookupFree
from ct_vae.models.quantizers.quantized import Quantized, Quantizer

__all__ = ["EMACodebook", "FiniteScalar", "LookupFree", "Quantized", "Quantizer"]
