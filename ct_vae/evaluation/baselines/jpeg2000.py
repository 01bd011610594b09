"""JPEG 2000 baseline: slice by slice, at a given number of bits per voxel."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.volume import Volume

# Range of the searched quality in dB of the full range of samples.
_WORST_DB, _BEST_DB = 1.0, 120.0
# The search stops at this fraction of the target size.
_TOLERANCE = 0.02
_ROUNDS = 16

Slices = NDArray[np.uint16]


def jpeg2000_baseline(volume: Volume, bits_per_voxel: float) -> Baseline:
    """Compress axial slices with JPEG 2000 (ISO/IEC 15444-1) and decompress them.

    Each slice is a raw code stream (9/7 wavelet, one layer, one tile) of HU minus the minimum of
    the volume. All slices have the same quality in dB, which minimizes the error of the volume. The
    quality is searched until all code streams together, headers included, take 98 to 100 % of the
    target. For small volumes, which have few truncation points, the largest size below the target
    is used. If the lossless 5/3 wavelet meets the target, it is used instead.

    Args:
        volume: Original volume; float voxels are rounded.
        bits_per_voxel: Maximum number of bits per voxel.

    Raises:
        ConfigError: If imagecodecs is not installed, or the target is not positive.
        InputError: If the headers alone exceed the target.
    """
    codec = _imagecodecs()
    if not bits_per_voxel > 0:
        raise ConfigError(f"JPEG 2000 cannot take {bits_per_voxel} bits per voxel", "give more")
    axial = next(axis for axis, code in enumerate(volume.grid.axcodes) if code in "SI")
    hu = np.rint(np.moveaxis(volume.voxels, axial, 0)).astype(np.int32)
    lowest = int(hu.min())
    samples = (hu - lowest).astype(np.uint16)
    streams = _streams_within(_encoder(codec, samples), bits_per_voxel * hu.size / 8)
    if streams is None:
        raise InputError(
            f"JPEG 2000 needs more than {bits_per_voxel:.4g} bits per voxel for slices of "
            f"{hu.shape[1]} x {hu.shape[2]} voxels",
            "its headers alone take about 170 bytes a slice",
        )
    decoded = np.stack([codec.jpeg2k_decode(stream) for stream in streams])
    voxels = (decoded.astype(np.int32) + lowest).clip(lowest, int(hu.max())).astype(np.int16)
    back = Volume(np.moveaxis(voxels, 0, axial), volume.grid, volume.outside_fov)
    return Baseline("jpeg2000", back, None, 8 * _bytes(streams))


def _imagecodecs() -> ModuleType:
    try:
        import imagecodecs
    except ImportError as error:
        raise ConfigError(
            "the JPEG 2000 baseline needs the package imagecodecs",
            "pip install 'ct_vae[baselines]'",
        ) from error
    found: ModuleType = imagecodecs
    return found


def _encoder(codec: ModuleType, samples: Slices) -> Callable[[float | None], list[bytes]]:
    """Return a function from quality in dB (``None`` for lossless) to one code stream per slice."""
    # Quality is relative to the range of the bit depth: an unused bit shifts it by 6 dB.
    depth = max(8, int(samples.max()).bit_length())
    # Each level of the wavelet halves the size.
    levels = min(6, min(samples.shape[1:]).bit_length())

    def encode(slice_: NDArray[np.uint16], quality: float | None) -> bytes:
        stream: bytes = codec.jpeg2k_encode(
            slice_,
            level=quality,
            codecformat="j2k",
            bitspersample=depth,
            resolutions=levels,
            reversible=quality is None,
        )
        return stream

    def encode_all(quality: float | None) -> list[bytes]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda s: encode(s, quality), samples))

    return encode_all


def _streams_within(
    encode: Callable[[float | None], list[bytes]], limit: float
) -> list[bytes] | None:
    """Return the largest code streams within the target, by bisection of the quality."""
    lossless = encode(None)
    if _bytes(lossless) <= limit:
        return lossless
    best = encode(_WORST_DB)
    if _bytes(best) > limit:
        return None
    low, high = _WORST_DB, _BEST_DB
    low_size, high_size = _bytes(best), max(_bytes(lossless), math.ceil(limit) + 1)
    for _ in range(_ROUNDS):
        if _bytes(best) >= (1 - _TOLERANCE) * limit:
            break
        share = math.log(limit / low_size) / math.log(high_size / low_size)
        quality = low + (high - low) * min(max(share, 0.1), 0.9)
        streams = encode(quality)
        if _bytes(streams) > limit:
            high, high_size = quality, _bytes(streams)
        else:
            low, low_size, best = quality, _bytes(streams), max(best, streams, key=_bytes)
    return best


def _bytes(streams: list[bytes]) -> int:
    return sum(map(len, streams))
