"""Autoencoders, their construction and their weights."""

from ct_vae.blocks.quantizers.quantized import Quantized
from ct_vae.models.autoencoder import LATENT_SCALE, Autoencoder, UntrainedWarning
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.build import build_from_json, build_model, build_untrained
from ct_vae.models.magvit_vqvae import MagvitVQVAE
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.vqvae import VQVAE

__all__ = [
    "LATENT_SCALE",
    "VQVAE",
    "Autoencoder",
    "AutoencoderKL",
    "DiagonalGaussian",
    "MagvitVQVAE",
    "Quantized",
    "UntrainedWarning",
    "build_from_json",
    "build_model",
    "build_untrained",
]
