"""How well a model reconstructs whole volumes, in HU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ct_vae.evaluation.masks import body_mask
from ct_vae.inference.codec import Codec
from ct_vae.latent import ModelRecord
from ct_vae.models.autoencoder_kl import AutoencoderKL
from ct_vae.preprocess.pipeline import Preprocessor
from ct_vae.volume import Volume

# The weights have no digest before they are saved, and these latents never leave memory.
_UNSAVED = "0" * 64


def validate(
    model: AutoencoderKL, preprocessor: Preprocessor, volumes: Sequence[Volume]
) -> dict[str, float]:
    """Reconstruct volumes and average the errors over them; empty without volumes."""
    if not volumes:
        return {}
    identity = ModelRecord(name="training", sha256=_UNSAVED, latent_type="kl")
    codec = Codec(model, preprocessor, identity)
    errors = np.array([_rmse_hu(codec.reconstruct(volume), volume) for volume in volumes])
    return {"val_rmse_hu": float(errors[:, 0].mean()), "val_body_rmse_hu": float(errors[:, 1].mean())}
