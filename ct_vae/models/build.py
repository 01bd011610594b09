"""Build autoencoders from configurations."""

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
    """Build the autoencoder of a configuration: `AutoencoderKL`, `VQVAE` or `MagvitVQVAE`.

    Args:
        config: Section ``model`` of a configuration.
        ckpt_path: Weights to load, instead of those in the configuration; optional.

    Raises:
        WeightsError: If the weights do not match the model.
    """
    numbers = config.model_dump(exclude={"ckpt_path"})
    return _CLASSES[config.latent_type](**numbers, ckpt_path=ckpt_path or config.ckpt_path)


def build_untrained(config: ModelConfig) -> Autoencoder:
    """Build an autoencoder with random weights, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return build_model(config)


def build_from_json(path: str | Path) -> Autoencoder:
    """Build the autoencoder of a run configuration.

    Args:
        path: JSON file, or the name of a configuration in the package such as ``kl_f4``.

    Raises:
        ConfigError: If the configuration is invalid.
        WeightsError: If its weights do not match the model.

    Examples:
        >>> from ct_vae.models import build_from_json
        >>> model = build_from_json("quickstart")
        >>> model.spatial_dims, model.factor
        (3, (4, 4, 4))
    """
    return build_model(load_config(path).model)
