"""From configuration to model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from ct_vae.config.load import load_config
from ct_vae.config.model import ModelConfig
from ct_vae.models.autoencoder import Autoencoder, UntrainedWarning
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.magvit_vqvae import MagvitVQVAE
from ct_vae.models.vqvae import VQVAE

_CLASSES: dict[str, Callable[..., Autoencoder]] = {
    "kl": AutoencoderKL,
    "vq": VQVAE,
    "magvit": MagvitVQVAE,
}


def build_model(config: ModelConfig, ckpt_path: str | Path | None = None) -> Autoencoder:
    """The model that a configuration describes: `AutoencoderKL`, `VQVAE` or `MagvitVQVAE`.

    Args:
        config: Section ``model``.
        ckpt_path: Weights to load, before those that the configuration names.

    Raises:
        WeightsError: If the weights do not fit.
    """
    numbers = config.model_dump(exclude={"ckpt_path"})
    return _CLASSES[config.latent_type](**numbers, ckpt_path=ckpt_path or config.ckpt_path)


def build_untrained(config: ModelConfig) -> Autoencoder:
    """The model with random weights and without a warning, for training and for descriptions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return build_model(config)


def build_from_json(path: str | Path) -> Autoencoder:
    """The model of a run configuration.

    Raises:
        ConfigError: If the configuration is wrong.
        WeightsError: If its weights do not fit.
    """
    return build_model(load_config(path).model)
