"""Files in and out: volumes, latents, discovery, atomic writes; never imports torch."""
