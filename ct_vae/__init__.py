"""Volumetric autoencoders for CT."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_codec"]

if TYPE_CHECKING:
    from ct_vae.inference.codec import load_codec


def __getattr__(name: str) -> Any:
    """Import the library's door when it is first used: it brings torch with it."""
    if name == "load_codec":
        # Every module imports this package; naming the codec's here would tie all of them to it.
        return import_module("ct_vae.inference.codec").load_codec
    raise AttributeError(f"module 'ct_vae' has no attribute {name!r}")
