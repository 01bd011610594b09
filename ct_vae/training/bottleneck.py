"""A batch on its way through the latent, whatever its kind, as training needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder


@dataclass(frozen=True, eq=False)
class Bottleneck:
    """What became of a batch in the latent.

    Attributes:
        latent: ``(B, C, *spatial)`` that goes to the decoder.
        centre: ``(B, C, *spatial)`` without noise: the mean, or the codes.
        regularisers: Unweighted losses by name, scalars in float32; ``kl`` is one number per
            latent element.
        codes: How the codebook was used, scalars by name; empty without codes.
    """

    latent: torch.Tensor
    centre: torch.Tensor
    regularisers: Mapping[str, torch.Tensor]
    codes: Mapping[str, torch.Tensor]


def bottleneck(
    model: Autoencoder,
    batch: torch.Tensor,
    noise: Callable[[torch.Tensor], torch.Tensor],
) -> Bottleneck:
    """Encode ``(B, C, *spatial)`` and draw from the posterior, or quantise.

    Args:
        model: Of any kind.
        batch: In model units.
        noise: Standard normal values of the shape of the mean that it is given.
    """
    features = model.features(batch)
    if isinstance(model, QuantizedAutoencoder):
        quantized = model.quantize(features)
        codes = {"perplexity": quantized.perplexity, "code_usage": quantized.usage}
        return Bottleneck(quantized.latent, quantized.latent, quantized.losses, codes)
    posterior = DiagonalGaussian(features)
    drawn = posterior.mean + posterior.std * noise(posterior.mean)
    return Bottleneck(drawn, posterior.mean, {"kl": posterior.kl_elements()}, {})
