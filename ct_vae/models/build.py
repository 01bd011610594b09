"""From configuration to model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ct_vae.config.load import load_config
from ct_vae.config.model import ModelConfig
from ct_vae.models.autoencoder import Autoencoder, UntrainedWarning
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.models.magvit_vqvae import MagvitVQVAE
from ct_vae.models.vqvae import VQVAE

_QUANTISED = {"quantizer", "levels", "codebook_decay", "normalize_codes"}
_MAGVIT = {"causal_axis", "downsample_mode"}
# Class of each kind, and the keys that its constructor does not take.
_KINDS: dict[str, tuple[Any, set[str]]] = {
    "kl": (AutoencoderKL, _QUANTISED | _MAGVIT),
    "vq": (VQVAE, {"stage_2_inputs"} | _MAGVIT),
    "magvit": (
        MagvitVQVAE,
        {"stage_2_inputs", "upsample_mode", "patch_size", "linear_skip", "refine_channels"},
    ),
}


def build_model(config: ModelConfig, ckpt_path: str | Path | None = None) -> Autoencoder:
    """The model that a configuration describes: `AutoencoderKL`, `VQVAE` or `MagvitVQVAE`.

    Args:
        config: Section ``model``.
        ckpt_path: Weights to load, before those that the configuration names.

    Raises:
        WeightsError: If the weights do not fit.
    """
    kind, foreign = _KINDS[config.latent_type]
    numbers = config.model_dump(exclude={"latent_type", "ckpt_path"} | foreign)
    model: Autoencoder = kind(**numbers, ckpt_path=ckpt_path or config.ckpt_path)
    return model


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
