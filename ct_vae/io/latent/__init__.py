"""Latent files: NIfTI with a JSON record beside it."""
