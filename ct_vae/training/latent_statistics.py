"""Mean and standard deviation of a trained model's latent over training images."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ct_vae.config.model_folder import LatentConfig
from ct_vae.errors import CtVaeError
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.autoencoder_kl import AutoencoderKL


@torch.no_grad()
def measure_latent(model: Autoencoder, batches: Iterable[torch.Tensor]) -> LatentConfig:
    """Measure the latents of batches ``(B, C, *spatial)`` in model units.

    The scaling factor is one over the standard deviation of all values together, as in Rombach et
    al. 2022, appendix G. If stage 2 uses samples of the posterior, the variance of the noise is
    added to that of the means instead of drawing samples.

    Raises:
        CtVaeError: If no batch has a finite latent.
    """
    samples, parts = 0, []
    for batch in batches:
        values, noise = _stage_2_inputs(model, batch)
        if not (values.isfinite().all() and noise.isfinite().all()):
            # Training skips such a batch too.
            continue
        samples += len(batch)
        rows, variances = (x.transpose(0, 1).flatten(1) for x in (values, noise))
        parts.append(LatentMoments.of(rows.numpy()).with_noise(variances.sum(1).tolist()))
    if not parts:
        raise CtVaeError(
            "no batch of training images has a finite latent", "lower training.lr, check the data"
        )
    moments = LatentMoments.together(parts)
    pooled = moments.pooled_std
    return LatentConfig(
        scaling_factor=1 / pooled if pooled > 0 else 1.0,
        mean=moments.mean,
        std=moments.std,
        samples=samples,
    )


def _stage_2_inputs(model: Autoencoder, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return expected values ``(B, C, *spatial)`` in float64 on the CPU, and their variance."""
    if isinstance(model, AutoencoderKL) and model.stage_2_inputs == "sample":
        posterior = model.posterior(batch)
        return posterior.mean.double().cpu(), posterior.std.double().square().cpu()
    values = model.encode_stage_2_inputs(batch).double().cpu()
    return values, torch.zeros_like(values)
