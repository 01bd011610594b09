"""Baselines: reconstructions by methods without a network."""
