"""Volumetric autoencoders for CT."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ct_vae.version import __version__

__all__ = ["__version__", "load_codec"]

if TYPE_CHECKING:
    from ct_vae.inference.codec import load_codec


def __getattr__(name: str) -> Any:
    """Import `load_codec` when it is first used, because it imports torch."""
    if name == "load_codec":
        # Every module imports this package, so an import statement here would be a circle.
        return import_module("ct_vae.inference.codec").load_codec
    raise AttributeError(f"module 'ct_vae' has no attribute {name!r}")
