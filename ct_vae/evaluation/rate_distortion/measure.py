"""Measurement of the rate-distortion curves of one volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.klt import fit_klt
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.rate_distortion.curve import Curve, RatePoint, Region
from ct_vae.evaluation.rate_distortion.methods import CODECS, Coded, sweep_klt, sweep_latent
from ct_vae.evaluation.rate_distortion.summary import MODEL, CaseCurves
from ct_vae.evaluation.rounding import stored
from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.inference.codec import Codec
from ct_vae.latent import Latent
from ct_vae.masks import Mask, body_mask
from ct_vae.volume import Volume

_WINDOWS: dict[Region, Window] = {"body": WINDOWS["full"], "soft_tissue": WINDOWS["soft_tissue"]}


class BodyErrors:
    """Errors of reconstructions of one volume inside its body.

    Args:
        original: Original volume.
        body: Mask of the body.
    """

    def __init__(self, original: Volume, body: Mask) -> None:
        self.original = original
        self._body = body.voxels
        self._inside = original.voxels[body.voxels].astype(np.float32)

    def of(self, volume: Volume) -> dict[Region, float]:
        """Return the RMSE in HU in the full and in the soft tissue window.

        Both volumes are clipped to the window, as in the tables of an evaluation.
        """
        values = volume.voxels[self._body].astype(np.float32)
        return {region: self._rmse(values, window) for region, window in _WINDOWS.items()}

    def curve(self, name: str, coded: Iterable[Coded]) -> Curve:
        """Measure the points of a method."""
        size = self.original.voxels.size
        points = (RatePoint(each.level, each.bits / size, **self.of(each.volume)) for each in coded)
        return Curve(name, tuple(points))

    def _rmse(self, values: NDArray[np.float32], window: Window) -> float:
        a, b = (each.clip(window.low, window.high) for each in (self._inside, values))
        return float(np.sqrt(np.square(b - a).mean(dtype=np.float64))) if a.size else 0.0


def model_curves(codec: Codec, latent: Latent, errors: BodyErrors) -> Iterator[Curve]:
    """Yield the curves of a model and of the KLT with as many values.

    Args:
        codec: The model.
        latent: Latent of the original.
        errors: Errors of the original.
    """
    yield errors.curve(MODEL, sweep_latent(latent, lambda z: stored(codec.decode(z))))
    channels = latent.array.shape[0] if latent.array.ndim == 4 else 1
    low, high = latent.record.preprocess.model_range
    code = fit_klt(errors.original, codec.preprocessor, codec.network.factor, channels)
    yield errors.curve("klt", sweep_klt(code, high - low, latent.record))


def codec_curves(errors: BodyErrors, notes: list[str]) -> Iterator[Curve]:
    """Yield the curves of the image codecs.

    Args:
        errors: Errors of the original.
        notes: Receives one line for each codec that is not installed or cannot code the volume.
    """
    for name, sweep in CODECS.items():
        try:
            curve = errors.curve(name, sweep(errors.original))
        except (ConfigError, InputError) as error:
            notes.append(f"no rate-distortion curve of {name}: {error}")
        else:
            yield curve


def curves_of_pair(
    case: str, pair: Pair, bits_per_voxel: float | None, notes: list[str]
) -> CaseCurves:
    """Return the curves of the image codecs, and the error of a reconstruction to compare.

    Args:
        case: Name of the case.
        pair: Original and reconstruction.
        bits_per_voxel: Size of the code of the reconstruction, if known.
        notes: Receives one line for each codec without a curve.
    """
    errors = BodyErrors(pair.reference, body_mask(pair.reference))
    found = errors.of(stored(pair.reconstruction))
    curves = list(codec_curves(errors, notes))
    if bits_per_voxel is not None:
        curves.insert(0, Curve(MODEL, (RatePoint(0.0, bits_per_voxel, **found),)))
    return CaseCurves(case, tuple(curves), found, bits_per_voxel)
