"""Volumetric autoencoders for CT."""

__version__ = "0.1.0"
