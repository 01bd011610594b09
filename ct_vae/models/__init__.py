"""Autoencoders put together from blocks, their building and their weights."""

from ct_vae.models.autoencoder_kl import LATENT_SCALE, AutoencoderKL, UntrainedWarning
from ct_vae.models.build import build_from_json, build_model, build_untrained
from ct_vae.models.posterior import DiagonalGaussian

__all__ = [
    "LATENT_SCALE",
    "AutoencoderKL",
    "DiagonalGaussian",
    "UntrainedWarning",
    "build_from_json",
    "build_model",
    "build_untrained",
]
