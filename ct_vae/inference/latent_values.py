"""Values of a latent from the features of an encoder, and values for a decoder from a latent."""

from __future__ import annotations

import numpy as np
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.latent import Latent, ModelRecord
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder

# Largest codebook whose codes are stored as uint16.
_UINT16_CODES = 2**16


def check_model(made_by: ModelRecord, own: ModelRecord) -> None:
    """Check that a model decodes latents of another one.

    Args:
        made_by: Model that made the latent.
        own: Model that decodes.

    Raises:
        InputError: If their encoders differ.
    """
    if not made_by.encodes_as(own):
        raise InputError(
            f"the latent was made by model {made_by.name!r} ({made_by.sha256[:12]}), not by "
            f"{own.name!r} ({own.sha256[:12]})",
            "decode it with the model that encoded it",
        )


def check_sampling(model: Autoencoder, sample: bool, seed: int | None, posterior: bool) -> None:
    """Check the options of encoding that concern the posterior.

    Args:
        model: Model that encodes.
        sample: True if a sample of the posterior is requested instead of its mean.
        seed: Seed of the sample.
        posterior: True if the standard deviations of the posterior are requested.

    Raises:
        ConfigError: If ``sample`` is set without a seed or the reverse, if ``sample`` and
            ``posterior`` are both set, or if either is requested of a model with codes.
    """
    if sample != (seed is not None):
        raise ConfigError("sample and seed must be given together", "give both or neither")
    if sample and posterior:
        raise ConfigError("a sample is stored without its posterior", "leave one of them out")
    if (sample or posterior) and isinstance(model, QuantizedAutoencoder):
        asked, use = ("posterior", "store") if posterior else ("sample", "sample")
        raise ConfigError(
            f"a model with codes has no posterior to {use}",
            f"leave {asked} out",
        )


def latent_values(
    model: Autoencoder, features: torch.Tensor, seed: int | None, device: torch.device
) -> np.ndarray:
    """Convert features ``(1, features, x, y, z)`` to the values of a latent.

    Args:
        model: Model whose encoder gave the features.
        features: Features on the CPU.
        seed: Seed of a sample of the posterior; ``None`` for its mean.
        device: Device of the model.

    Returns:
        Values ``(C, x, y, z)`` in float32, or codes ``(x, y, z)``.
    """
    if isinstance(model, QuantizedAutoencoder):
        indices: np.ndarray = model.quantize(features.to(device)).indices[0].cpu().numpy()
        return indices.astype(np.uint16 if model.codebook_size <= _UINT16_CODES else np.int32)
    posterior = DiagonalGaussian(features)
    draw = None if seed is None else torch.Generator().manual_seed(seed)
    latent = posterior.mode() if draw is None else posterior.sample(draw)
    values: np.ndarray = latent[0].float().numpy()
    return values


def posterior_std(features: torch.Tensor) -> np.ndarray:
    """Return the standard deviations of the posterior ``(C, x, y, z)`` in float32.

    Args:
        features: Features ``(1, features, x, y, z)`` of a model without codes.
    """
    std: np.ndarray = DiagonalGaussian(features).std[0].float().numpy()
    return std


def decoder_input(model: Autoencoder, latent: Latent, device: torch.device) -> torch.Tensor:
    """Convert a latent to the input ``(1, C, x, y, z)`` of a decoder, in float32 on the CPU.

    Args:
        model: Model that decodes.
        latent: Latent of either kind.
        device: Device of the model.

    Raises:
        InputError: If the latent is not of the kind or does not have the channels of the model.
    """
    quantized = isinstance(model, QuantizedAutoencoder)
    if quantized != (latent.record.kind == "codes"):
        raise InputError(
            f"a latent of kind {latent.record.kind!r} cannot be decoded by "
            f"{'a model with codes' if quantized else 'a model without codes'}"
        )
    if isinstance(model, QuantizedAutoencoder):
        indices = torch.from_numpy(latent.array.astype(np.int64))[None]
        values = model.quantizer.decode_indices(indices.to(device)).cpu()
    else:
        array = np.ascontiguousarray(latent.array, dtype=np.float32)
        values = torch.from_numpy(array)[None]
    if values.shape[1] != model.latent_channels:
        raise InputError(
            f"the latent has {values.shape[1]} channels, the model {model.latent_channels}"
        )
    return values
