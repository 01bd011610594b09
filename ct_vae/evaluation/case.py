"""Evaluation of one volume: the reconstruction and the baselines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ct_vae.errors import ConfigError, CtVaeError, InputError
from ct_vae.evaluation.baselines.jpeg2000 import jpeg2000_baseline
from ct_vae.evaluation.baselines.klt import klt_baseline
from ct_vae.evaluation.baselines.resample import (
    Baseline,
    identity_baseline,
    mean_baseline,
    resample_baseline,
)
from ct_vae.evaluation.measure import Plan, measure_pair
from ct_vae.evaluation.metrics.compression import Compression, measure_compression
from ct_vae.evaluation.metrics.metric_rows import MetricRow
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.metrics.seams import Seams, borders_of, measure_seams
from ct_vae.evaluation.rate_distortion.measure import BodyErrors, codec_curves, model_curves
from ct_vae.evaluation.rate_distortion.summary import CaseCurves
from ct_vae.evaluation.rounding import stored
from ct_vae.inference.codec import Codec
from ct_vae.inference.device import peak_memory_mb
from ct_vae.latent import Latent
from ct_vae.masks import Mask, body_mask, field_of_view
from ct_vae.progress import report_stage
from ct_vae.volume import Volume


@dataclass(frozen=True)
class Cost:
    """Time and memory of one reconstruction.

    Attributes:
        encode_seconds: Time for encoding, preprocessing included.
        decode_seconds: Time for decoding to the source grid.
        peak_memory_mb: Peak memory so far in MiB: of the device, or of the process on a CPU.
    """

    encode_seconds: float
    decode_seconds: float
    peak_memory_mb: float

    @property
    def seconds(self) -> float:
        """Time for encoding and decoding."""
        return self.encode_seconds + self.decode_seconds

    def line(self, voxels: int) -> dict[str, float]:
        """Return times, throughput in millions of voxels per second, and memory by name."""
        return {
            "seconds": self.seconds,
            "encode_seconds": self.encode_seconds,
            "decode_seconds": self.decode_seconds,
            "encode_mvoxels_per_second": voxels / 1e6 / self.encode_seconds,
            "decode_mvoxels_per_second": voxels / 1e6 / self.decode_seconds,
            "peak_memory_mb": self.peak_memory_mb,
        }


@dataclass(frozen=True, eq=False)
class CaseResult:
    """Result of evaluating one volume.

    Attributes:
        original: Original volume.
        reconstruction: Reconstruction, rounded to whole HU as in int16 files.
        rows: Errors of the reconstruction and of the baselines.
        latent: Latent of the original.
        compression: Size of the latent on disk.
        cost: Time and memory.
        seams: Errors near tile borders; ``None`` if not measured.
        notes: Baselines that could not be computed, with the reason.
        curves: Rate-distortion curves; ``None`` if not requested.
    """

    original: Volume
    reconstruction: Volume
    rows: list[MetricRow]
    latent: Latent
    compression: Compression
    cost: Cost
    seams: Seams | None = None
    notes: tuple[str, ...] = ()
    curves: CaseCurves | None = None

    def line(self) -> dict[str, float | None]:
        """Return sizes, time and seam errors by name, for ``cases.csv``."""
        seams = self.seams
        apart = {
            "rmse_near_seams": seams.near if seams else None,
            "rmse_elsewhere": seams.elsewhere if seams else None,
            "seam_ratio": seams.ratio if seams else None,
        }
        return self.compression.line() | self.cost.line(self.original.voxels.size) | apart


def evaluate_case(
    codec: Codec,
    volume: Volume,
    case: str,
    plan: Plan | None = None,
    masks: Sequence[Mask] | None = None,
) -> CaseResult:
    """Reconstruct a volume, and compare the reconstruction and the baselines with the original.

    Args:
        codec: Model to evaluate.
        volume: Original volume in HU.
        case: Name of the case in the rows.
        plan: Metrics to compute; defaults to those of `Plan`.
        masks: Masks to evaluate in; defaults to the body and the field of view.

    Raises:
        InputError: If the model returns values that are not finite or exceed int16.

    Examples:
        >>> from ct_vae import load_codec
        >>> from ct_vae.evaluation.case import evaluate_case
        >>> from ct_vae.phantoms.make_phantom import make_phantom
        >>> volume = make_phantom("head", seed=0, spacing_mm=8.0)
        >>> result = evaluate_case(load_codec("ct-f4", device="cpu"), volume, "head")
        >>> sorted({row.mask for row in result.rows})
        ['body', 'field_of_view', 'in_window']
    """
    plan = plan or Plan()
    masks = masks or (body_mask(volume), field_of_view(volume))
    latent, reconstruction, cost = _reconstruct(codec, volume)
    report_stage("measuring")
    compression = measure_compression(volume, latent)
    rows = measure_pair(Pair(volume, reconstruction), plan, masks, (case, "reconstruction"))
    notes: list[str] = []
    for baseline in _baselines(codec, volume, latent, masks[0], compression, notes):
        rows += measure_pair(Pair(volume, baseline.volume), plan, masks, (case, baseline.name))
    seams = None
    if "seams" in plan.metrics or latent.record.tiling.tile is not None:
        borders = borders_of(latent.record)
        seams = measure_seams(volume.voxels, reconstruction.voxels, borders, mask=masks[0].voxels)
    curves = None
    if plan.rate_distortion:
        body = masks[0] if masks[0].name == "body" else body_mask(volume)
        errors = BodyErrors(volume, body)
        found = (*model_curves(codec, latent, errors), *codec_curves(errors, notes))
        curves = CaseCurves(case, found, errors.of(reconstruction), compression.bits_per_voxel)
    return CaseResult(
        volume, reconstruction, rows, latent, compression, cost, seams, tuple(notes), curves
    )


def _reconstruct(codec: Codec, volume: Volume) -> tuple[Latent, Volume, Cost]:
    started = time.perf_counter()
    latent = codec.encode(volume, response=True)
    encoded = time.perf_counter()
    reconstruction = stored(codec.decode(latent))
    decoded = time.perf_counter()
    memory = peak_memory_mb(codec.network.device)
    return latent, reconstruction, Cost(encoded - started, decoded - encoded, memory)


def _baselines(
    codec: Codec,
    volume: Volume,
    latent: Latent,
    body: Mask,
    compression: Compression,
    notes: list[str],
) -> Iterator[Baseline]:
    """Yield one baseline at a time, because each is as large as the volume."""
    report_stage("measuring baselines")
    yield identity_baseline(volume, codec.preprocessor, codec.network.factor)
    # A code is one value per latent voxel.
    channels = latent.array.shape[0] if latent.array.ndim > len(codec.network.factor) else 1
    yield klt_baseline(volume, codec.preprocessor, codec.network.factor, channels)
    yield resample_baseline(volume, latent.array.size)
    yield mean_baseline(volume, body)
    try:
        yield jpeg2000_baseline(volume, compression.bits_per_voxel)
    except (ConfigError, InputError) as error:
        notes.append(_note(error))


def _note(error: CtVaeError) -> str:
    return f"no JPEG 2000 baseline: {error}"
