"""Quantizers from continuous latents to codes of a finite codebook and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ct_vae.blocks.quantizers.finite_scalar import FiniteScalar
from ct_vae.blocks.quantizers.lookup_free import LookupFree
from ct_vae.blocks.quantizers.quantized import Quantized, Quantizer

if TYPE_CHECKING:
    from ct_vae.blocks.quantizers.ema_codebook import EMACodebook

__all__ = ["EMACodebook", "FiniteScalar", "LookupFree", "Quantized", "Quantizer"]


def __getattr__(name: str) -> Any:
    """Import the codebook when it is first used: it imports the compiler of torch."""
    if name == "EMACodebook":
        from ct_vae.blocks.quantizers.ema_codebook import EMACodebook

        return EMACodebook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
