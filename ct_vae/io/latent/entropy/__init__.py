"""Entropy coding of quantized latents: prediction from a coarse lattice, and range coding."""
