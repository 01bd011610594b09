"""Sweeps of the rate of a model, of the KLT, and of image codecs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.baselines.hevc import hevc_baseline
from ct_vae.evaluation.baselines.jpeg2000 import jpeg2000_at_rmse
from ct_vae.evaluation.baselines.klt import BlockCode
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.evaluation.baselines.sperr import sperr_baseline
from ct_vae.evaluation.rate_distortion.entropy import coded_bits
from ct_vae.latent import Latent
from ct_vae.volume import Volume

# Quantizer steps of the latent, in standard deviations of the posterior.
LATENT_STEPS = (1.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
# Fractions of the HU range of the model; blocks of 4^3 voxels average the error of a coefficient.
KLT_STEPS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
# In HU over all voxels, air included; the error in the body is larger.
JPEG2000_RMSE_HU = (224.0, 160.0, 112.0, 80.0, 56.0, 40.0, 28.0, 20.0, 14.0, 10.0, 7.0)
SPERR_BITS = (0.015, 0.03, 0.0625, 0.125, 0.25, 0.5, 1.0)
HEVC_QP = (42, 36, 30, 24, 18, 12, 6)


@dataclass(frozen=True, eq=False)
class Coded:
    """A volume at one rate.

    Attributes:
        level: Setting of the method.
        bits: Size of the code in bits.
        volume: Reconstruction on the grid of the original.
    """

    level: float
    bits: float
    volume: Volume


def sweep_latent(
    latent: Latent, spread: NDArray[np.float32], decode: Callable[[Latent], Volume]
) -> Iterator[Coded]:
    """Yield the model with its latent quantized at increasing steps.

    Args:
        latent: Posterior means, or codes, which have one rate only.
        spread: Standard deviation of the posterior per channel; unused for codes.
        decode: Decoder of the model.
    """
    if latent.record.kind == "codes":
        yield Coded(0.0, coded_bits(latent.array[None].astype(np.int64)), decode(latent))
        return
    for step in LATENT_STEPS:
        steps = (step * spread).reshape(-1, 1, 1, 1)
        whole = np.rint(latent.array / steps).astype(np.int64)
        values = (whole * steps).astype(np.float32)
        yield Coded(step, coded_bits(whole), decode(replace(latent, array=values)))


def sweep_klt(code: BlockCode, model_range: float) -> Iterator[Coded]:
    """Yield the KLT with its coefficients quantized at increasing steps.

    All coefficients have the same step, which minimizes the squared error at high rates.

    Args:
        code: Blocks of the volume.
        model_range: Length of the range of model units.
    """
    for fraction in KLT_STEPS:
        step = fraction * model_range
        whole = np.rint(code.coefficients / step).astype(np.int64)
        volume = code.decode((whole * step).astype(np.float32))
        yield Coded(fraction, coded_bits(whole), volume)


def sweep_jpeg2000(volume: Volume) -> Iterator[Coded]:
    """Yield JPEG 2000 at increasing rates; see `jpeg2000_at_rmse`."""
    yield from _sweep(volume, jpeg2000_at_rmse, JPEG2000_RMSE_HU)


def sweep_sperr(volume: Volume) -> Iterator[Coded]:
    """Yield SPERR at increasing rates; see `sperr_baseline`."""
    yield from _sweep(volume, sperr_baseline, SPERR_BITS)


def sweep_hevc(volume: Volume) -> Iterator[Coded]:
    """Yield HEVC at increasing rates; see `hevc_baseline`."""
    yield from _sweep(volume, hevc_baseline, HEVC_QP)


CODECS: Mapping[str, Callable[[Volume], Iterator[Coded]]] = {
    "jpeg2000": sweep_jpeg2000,
    "sperr": sweep_sperr,
    "hevc": sweep_hevc,
}


def _sweep(
    volume: Volume, compress: Callable[[Volume, Any], Baseline], levels: tuple[float, ...]
) -> Iterator[Coded]:
    for level in levels:
        found = compress(volume, level)
        assert found.bits is not None
        yield Coded(float(level), found.bits, found.volume)
