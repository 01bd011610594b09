"""Mean and standard deviation of a trained model's latent, channel by channel."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ct_vae.config.model_folder import LatentConfig
from ct_vae.errors import CtVaeError
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.autoencoder_kl import AutoencoderKL


@torch.no_grad()
def measure_latent(model: Autoencoder, batches: Iterable[torch.Tensor]) -> LatentConfig:
    """Gather the stage-2 inputs of batches ``(B, C, *spatial)`` in model units.

    The scaling factor is one over the standard deviation of all values together, as in Rombach et
    al. 2022, appendix G. Sums are in float64. Where stage 2 is given samples, the variance of the
    noise is added to that of the means instead of drawing any.
    """
    samples, count = 0, 0
    total = squares = torch.zeros(1, dtype=torch.float64)
    for batch in batches:
        values, noise = _stage_2_inputs(model, batch)
        if not (values.isfinite().all() and noise.isfinite().all()):
            # Training leaves such a batch out as well.
            continue
        axes = [0, *range(2, values.ndim)]
        samples += len(batch)
        count += values.numel() // values.shape[1]
        total = total + values.sum(axes)
        squares = squares + (values.square() + noise).sum(axes)
    if not count:
        raise CtVaeError(
            "no batch of training images has a finite latent", "lower training.lr, check the data"
        )
    means = total / count
    variances = (squares / count - means.square()).clamp_min(0)
    pooled = (squares.mean() / count - means.mean().square()).clamp_min(0).sqrt().item()
    return LatentConfig(
        scaling_factor=1 / pooled if pooled > 0 else 1.0,
        mean=tuple(means.tolist()),
        std=tuple(variances.sqrt().tolist()),
        samples=samples,
    )


def _stage_2_inputs(model: Autoencoder, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Expected values ``(B, C, *spatial)`` in float64 on the CPU, and their variance."""
    if isinstance(model, AutoencoderKL) and model.stage_2_inputs == "sample":
        posterior = model.posterior(batch)
        return posterior.mean.double().cpu(), posterior.std.double().square().cpu()
    values = model.encode_stage_2_inputs(batch).double().cpu()
    return values, torch.zeros_like(values)
