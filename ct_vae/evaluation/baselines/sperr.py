"""SPERR baseline: three-dimensional wavelet compression of the whole volume."""

from __future__ import annotations

import numpy as np

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.axial import axial_slices, from_axial_slices, import_codec
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.volume import Volume


def sperr_baseline(volume: Volume, bits_per_voxel: float) -> Baseline:
    """Compress a volume with SPERR at a given rate and decompress it.

    SPERR (Li, Lindstrom and Clyne 2023, "Lossy scientific data compression with SPERR") codes the
    coefficients of a 9/7 wavelet along all three axes by bit planes.

    Args:
        volume: Original volume.
        bits_per_voxel: Target rate; the size of the stream, headers included, is within a few
            percent of it.

    Raises:
        ConfigError: If imagecodecs is not installed, or the rate is not positive.
        InputError: If SPERR cannot compress the volume.
    """
    codec = import_codec("imagecodecs", "SPERR", "baselines")
    if not bits_per_voxel > 0:
        raise ConfigError(f"SPERR cannot use {bits_per_voxel} bits per voxel", "give more")
    samples = axial_slices(volume).astype(np.float32)
    try:
        stream = codec.sperr_encode(samples, level=bits_per_voxel, mode="bpp")
        decoded = codec.sperr_decode(stream)
    except RuntimeError as error:
        raise InputError(
            f"SPERR cannot compress {' x '.join(map(str, samples.shape))} voxels: {error}"
        ) from error
    back = from_axial_slices(decoded.reshape(samples.shape), volume)
    return Baseline("sperr", back, None, 8 * len(stream))
