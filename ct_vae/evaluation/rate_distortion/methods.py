"""Sweeps of the rate of a model, of the KLT, and of image codecs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ct_vae.evaluation.baselines.hevc import hevc_baseline
from ct_vae.evaluation.baselines.jpeg2000 import jpeg2000_at_rmse
from ct_vae.evaluation.baselines.klt import BlockCode
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.evaluation.baselines.sperr import sperr_baseline
from ct_vae.evaluation.metrics.compression import code_latent
from ct_vae.evaluation.rate_distortion.entropy import index_bits
from ct_vae.io.latent.entropy.coder import encode_integers
from ct_vae.io.latent.entropy.rounding import round_cheaply
from ct_vae.io.latent.record import short_record_bytes
from ct_vae.latent import Latent, LatentRecord
from ct_vae.volume import Volume

# Standard deviations of the rounding error of the latent, in those of the posterior.
LATENT_STEPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
# Fractions of the HU range of the model; blocks of 4^3 voxels average the error of a coefficient.
KLT_STEPS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
# In HU over all voxels, air included; the error in the body is larger.
JPEG2000_RMSE_HU = (224.0, 160.0, 112.0, 80.0, 56.0, 40.0, 28.0, 20.0, 14.0, 10.0, 7.0, 5.0)
SPERR_BITS = (0.015, 0.03, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)
HEVC_QP = (42, 36, 30, 24, 18, 12, 6, 0)


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


def sweep_latent(latent: Latent, decode: Callable[[Latent], Volume]) -> Iterator[Coded]:
    """Yield the model with its latent quantized at increasing steps.

    The size is that of a coded file, which contains its record.

    Args:
        latent: Posterior means, or codes, which have one rate only.
        decode: Decoder of the model.
    """
    if latent.record.kind == "codes":
        bits = index_bits(latent.array.astype(np.int64)) + record_bits(latent.record)
        yield Coded(0.0, bits, decode(latent))
        return
    for step in LATENT_STEPS:
        coded, size = code_latent(latent, step)
        yield Coded(step, 8 * size, decode(coded))


def record_bits(record: LatentRecord) -> int:
    """Return the size of the compressed record of a latent in bits."""
    return 8 * len(zlib.compress(short_record_bytes(record), 9))


def sweep_klt(code: BlockCode, model_range: float, record: LatentRecord) -> Iterator[Coded]:
    """Yield the KLT with its coefficients quantized at increasing steps.

    All coefficients have the same step, which minimizes the squared error at high rates, and are
    coded like the latent of a model. The transform, which is fitted on the volume, is not counted.

    Args:
        code: Blocks of the volume.
        model_range: Length of the range of model units.
        record: Record of the latent of the model, whose size is counted here, too.
    """
    for fraction in KLT_STEPS:
        step = fraction * model_range
        whole = np.rint(code.coefficients / step).astype(np.int32)
        round_cheaply(code.coefficients, [step] * len(whole), whole)
        volume = code.decode((whole * step).astype(np.float32))
        yield Coded(fraction, 8 * len(encode_integers(whole)) + record_bits(record), volume)


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
