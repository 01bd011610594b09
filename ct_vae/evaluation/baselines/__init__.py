"""Reconstructions by other methods, to compare with."""
