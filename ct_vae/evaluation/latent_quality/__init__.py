"""Properties of a latent that matter to models trained on it, such as diffusion models."""
