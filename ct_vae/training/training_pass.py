"""Forward pass in training for all kinds of models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.training.latent_changes import LatentChanges
from ct_vae.training.seeding import posterior_noise


@dataclass(frozen=True, eq=False)
class LatentSample:
    """Latent of a batch in training.

    Attributes:
        sample: Latent ``(B, C, *spatial)`` for the decoder.
        center: Latent ``(B, C, *spatial)`` without noise: the mean, or the codes.
        regularizers: Unweighted losses by name, scalars in float32; ``kl`` has one value per latent
            element.
        codes: Statistics of codebook usage by name; empty without codes.
        std: Standard deviations of the posterior ``(B, C, *spatial)``; ``None`` with codes.
    """

    sample: torch.Tensor
    center: torch.Tensor
    regularizers: Mapping[str, torch.Tensor]
    codes: Mapping[str, torch.Tensor]
    std: torch.Tensor | None = None


def training_pass(
    model: Autoencoder, images: torch.Tensor, seed: int, index: int, changes: LatentChanges
) -> tuple[LatentSample, torch.Tensor]:
    """Encode images, sample or quantize, and decode.

    Args:
        model: Autoencoder of any kind.
        images: Images ``(B, C, *spatial)`` in model units.
        seed: Seed of the run.
        index: Index of the first sample in the run.
        changes: Changes of latents before decoding.

    Returns:
        The latent, and the raw output of the decoder.
    """
    latent = sample_latent(model, images, lambda mean: posterior_noise(mean, seed, index))
    return latent, model.decode_raw(changes(latent.sample, seed, index, latent.std))


def sample_latent(
    model: Autoencoder,
    images: torch.Tensor,
    noise: Callable[[torch.Tensor], torch.Tensor],
) -> LatentSample:
    """Encode images ``(B, C, *spatial)`` and sample from the posterior, or quantize.

    Args:
        model: Autoencoder of any kind.
        images: Images in model units.
        noise: Returns standard normal values with the shape of its argument.
    """
    features = model.features(images)
    if isinstance(model, QuantizedAutoencoder):
        quantized = model.quantize(features)
        codes = {"perplexity": quantized.perplexity, "code_usage": quantized.usage}
        return LatentSample(quantized.latent, quantized.latent, quantized.losses, codes)
    posterior = DiagonalGaussian(features)
    sample = posterior.mean + posterior.std * noise(posterior.mean)
    return LatentSample(sample, posterior.mean, {"kl": posterior.kl_elements()}, {}, posterior.std)
