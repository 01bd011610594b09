"""How well a model reconstructs whole volumes, in HU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ct_vae.evaluation.metrics import evaluate_pair
from ct_vae.inference.codec import Codec
from ct_vae.latent import ModelRecord
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.quantized_autoencoder import QuantizedAutoencoder
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.volume import Volume

# The weights have no digest before they are saved, and these latents never leave memory.
_NO_DIGEST = "0" * 64


def validate(
    model: Autoencoder, preprocessor: Preprocessor, volumes: Sequence[Volume]
) -> dict[str, float]:
    """Reconstruct volumes and average RMSE in HU inside the body over them.

    Returns:
        One value for each default window; empty without volumes.
    """
    if not volumes:
        return {}
    kind: Literal["kl", "vq"] = "vq" if isinstance(model, QuantizedAutoencoder) else "kl"
    identity = ModelRecord(name="training", sha256=_NO_DIGEST, latent_type=kind)
    codec = Codec(model, preprocessor, identity)
    errors: dict[str, list[float]] = {}
    for i, volume in enumerate(volumes):
        for row in evaluate_pair(volume, codec.reconstruct(volume), case=str(i)):
            if row.mask == "body" and row.rmse is not None:
                errors.setdefault(f"val_rmse_hu_{row.window}", []).append(row.rmse)
    return {name: float(np.mean(values)) for name, values in errors.items()}
