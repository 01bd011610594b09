"""Records of encoding and decoding."""

from __future__ import annotations

import platform
from importlib.metadata import version

import numpy as np
import torch

from ct_vae.inference.device import peak_memory_mb
from ct_vae.inference.latent_moments import LatentMoments
from ct_vae.inference.precision import Precision
from ct_vae.io import volume_sha256
from ct_vae.latent import (
    GridRecord,
    LatentStatistics,
    ModelRecord,
    RunRecord,
    SourceRecord,
    TilingRecord,
)
from ct_vae.models.posterior import DiagonalGaussian
from ct_vae.version import __version__
from ct_vae.volume import Volume

_PACKAGES = ("torch", "monai", "nibabel")


def source_record(volume: Volume) -> SourceRecord:
    """Describe the source volume of a latent."""
    return SourceRecord(
        sha256=volume_sha256(volume),
        grid=GridRecord.of(volume.grid),
        dtype=str(volume.source.get("dtype", volume.voxels.dtype)),
        format=str(volume.source.get("format", "memory")),
    )


def latent_statistics(array: np.ndarray, features: torch.Tensor) -> LatentStatistics:
    """Compute the mean and standard deviation of each channel of a latent.

    Args:
        array: Latent ``(C, x, y, z)``.
        features: Output of the encoder ``(1, features, x, y, z)``, for the standard deviation of
            the posterior.
    """
    moments = LatentMoments.of(array.reshape(len(array), -1))
    variance = DiagonalGaussian(features).logvar[0].double().exp_().flatten(1).mean(dim=1)
    return LatentStatistics(
        mean=moments.mean, std=moments.std, posterior_std=tuple(variance.sqrt().tolist())
    )


def run_record(device: torch.device, seconds: float) -> RunRecord:
    """Describe the run: versions of packages, device, time in seconds and peak memory."""
    return RunRecord(
        versions={"ct_vae": __version__}
        | {name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        device=device.type,
        seconds=round(seconds, 3),
        peak_memory_mb=round(peak_memory_mb(device), 1),
    )


def decoding_record(
    model: ModelRecord, tiling: TilingRecord, precision: Precision
) -> dict[str, str]:
    """Describe how a volume was decoded, for the item `DECODING` of its source."""
    tile = "" if tiling.tile is None else f" {'x'.join(map(str, tiling.tile))}"
    return {
        "model": model.name,
        "model_sha256": model.sha256,
        "precision": precision,
        "tiling": f"{tiling.method}{tile}",
        "ct_vae": __version__,
    }
