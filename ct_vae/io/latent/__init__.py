"""Latent files: NIfTI or coded files with a JSON record."""
