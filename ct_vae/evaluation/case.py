"""One volume through a model, judged beside what needs no network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ct_vae.evaluation.baselines import mean_baseline, resample_baseline
from ct_vae.evaluation.masks import body_mask, field_of_view
from ct_vae.evaluation.metrics import DEFAULT_WINDOWS, MetricRow, evaluate_pair
from ct_vae.evaluation.windows import Window
from ct_vae.inference.codec import Codec
from ct_vae.volume import Volume


@dataclass(frozen=True, eq=False)
class CaseResult:
    """What became of one volume.

    Attributes:
        original: As it was read.
        reconstruction: As int16 files would hold it, whole HU.
        rows: Errors of the reconstruction and of the baselines.
        compression: Voxels of the original per number of the latent.
        seconds: Time of encoding and decoding.
    """

    original: Volume
    reconstruction: Volume
    rows: list[MetricRow]
    compression: float
    seconds: float


def evaluate_case(
    codec: Codec, volume: Volume, case: str, windows: Sequence[Window] = DEFAULT_WINDOWS
) -> CaseResult:
    """Reconstruct a volume and compare it, and the baselines, with the original.

    Args:
        codec: The model.
        volume: The original.
        case: Name of the case in the rows.
        windows: HU ranges to judge in.
    """
    started = time.perf_counter()
    latent = codec.encode(volume)
    decoded = codec.decode(latent)
    seconds = time.perf_counter() - started
    reconstruction = Volume(np.rint(decoded.voxels), decoded.grid)
    body = body_mask(volume)
    masks = (body, field_of_view(volume))
    rows = evaluate_pair(volume, reconstruction, windows, case=case, masks=masks)
    for baseline in (resample_baseline(volume, latent.array.size), mean_baseline(volume, body)):
        rows += evaluate_pair(
            volume, baseline.volume, windows, case=case, what=baseline.name, masks=masks
        )
    compression = volume.voxels.size / latent.array.size
    return CaseResult(volume, reconstruction, rows, compression, seconds)
