"""Mean and standard deviation of a trained model's latent, channel by channel."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ct_vae.config.model_folder import LatentConfig
from ct_vae.models.autoencoder import Autoencoder


@torch.no_grad()
def measure_latent(model: Autoencoder, batches: Iterable[torch.Tensor]) -> LatentConfig:
    """Gather the stage-2 inputs of batches ``(B, C, *spatial)`` in model units.

    The scaling factor is one over the standard deviation of all values together, as in Rombach et
    al. 2022, appendix G.
    """
    count, total, squares = 0, torch.zeros(1), torch.zeros(1)
    for batch in batches:
        mean = model.encode_stage_2_inputs(batch).double().cpu()
        axes = [0, *range(2, mean.ndim)]
        count += mean.numel() // mean.shape[1]
        total = total + mean.sum(axes)
        squares = squares + mean.square().sum(axes)
    means = total / count
    variances = (squares / count - means.square()).clamp_min(0)
    pooled = (squares.mean() / count - means.mean().square()).clamp_min(0).sqrt().item()
    return LatentConfig(
        scaling_factor=1 / pooled if pooled > 0 else 1.0,
        mean=tuple(means.tolist()),
        std=tuple(variances.sqrt().tolist()),
    )
