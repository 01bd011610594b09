"""JPEG 2000 baseline: slice by slice, with one header per volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.baselines.axial import axial_slices, from_axial_slices, import_codec
from ct_vae.evaluation.baselines.resample import Baseline
from ct_vae.volume import Volume

# Range of the searched quality in dB of the full range of samples.
_WORST_DB, _BEST_DB = 1.0, 120.0
# The search stops at this fraction of the target size.
_TOLERANCE = 0.02
_ROUNDS = 16
# Marker at which the first tile of a code stream begins; the main header is before it.
_START_OF_TILE = b"\xff\x90"

Slices = NDArray[np.uint16]
Encode = Callable[[float | None], list[bytes]]


def jpeg2000_baseline(volume: Volume, bits_per_voxel: float) -> Baseline:
    """Compress axial slices with JPEG 2000 (ISO/IEC 15444-1) at a rate and decompress them.

    Each slice is a raw code stream (9/7 wavelet, one layer, one tile) of HU minus the minimum of
    the volume. All slices have the same quality in dB, which minimizes the error of the volume. The
    quality is searched until all code streams together take 98 to 100 % of the target. For small
    volumes, which have few truncation points, the largest size below the target is used. If the
    lossless 5/3 wavelet meets the target, it is used instead. The size is that of
    `without_repeated_headers`.

    Args:
        volume: Original volume; float voxels are rounded.
        bits_per_voxel: Maximum number of bits per voxel.

    Raises:
        ConfigError: If imagecodecs is not installed, or the target is not positive.
        InputError: If the headers alone exceed the target.
    """
    codec = import_codec("imagecodecs", "JPEG 2000", "baselines")
    if not bits_per_voxel > 0:
        raise ConfigError(f"JPEG 2000 cannot take {bits_per_voxel} bits per voxel", "give more")
    samples, lowest = _samples(volume)
    streams = _streams_within(_encoder(codec, samples), bits_per_voxel * samples.size / 8)
    if streams is None:
        raise InputError(
            f"JPEG 2000 needs more than {bits_per_voxel:.4g} bits per voxel for slices of "
            f"{samples.shape[1]} x {samples.shape[2]} voxels",
            "the headers of its slices alone take more",
        )
    return _decoded(codec, streams, volume, lowest)


def jpeg2000_at_rmse(volume: Volume, rmse_hu: float) -> Baseline:
    """Compress axial slices with JPEG 2000 at about a given error, and decompress them.

    The code streams are those of `jpeg2000_baseline`.

    Args:
        volume: Original volume; float voxels are rounded.
        rmse_hu: Target root mean square error over all voxels, in HU.

    Raises:
        ConfigError: If imagecodecs is not installed.
    """
    codec = import_codec("imagecodecs", "JPEG 2000", "baselines")
    samples, lowest = _samples(volume)
    quality = 20 * math.log10((2 ** _depth(samples) - 1) / rmse_hu)
    streams = _encoder(codec, samples)(max(quality, _WORST_DB))
    return _decoded(codec, streams, volume, lowest)


def without_repeated_headers(streams: list[bytes]) -> list[bytes]:
    """Return code streams of which only the first one has its main header.

    The main header is the same for all slices of a volume. It takes more than 100 bytes, which
    would distort low rates. Appending the rest of another stream to the header of the first one
    restores that stream. The streams can be stored one after the other, because the header of a
    tile contains the tile's length.
    """
    header = streams[0][: streams[0].index(_START_OF_TILE)]
    rest = [
        stream[len(header) :] if stream.startswith(header) else stream for stream in streams[1:]
    ]
    return [streams[0], *rest]


def _samples(volume: Volume) -> tuple[Slices, int]:
    hu = axial_slices(volume)
    lowest = int(hu.min())
    return (hu - lowest).astype(np.uint16), lowest


def _depth(samples: Slices) -> int:
    # Quality is relative to the range of the bit depth: an unused bit shifts it by 6 dB.
    return max(8, int(samples.max()).bit_length())


def _decoded(codec: ModuleType, streams: list[bytes], volume: Volume, lowest: int) -> Baseline:
    decoded = np.stack([codec.jpeg2k_decode(stream) for stream in streams])
    back = from_axial_slices(decoded.astype(np.int32) + lowest, volume)
    return Baseline("jpeg2000", back, None, 8 * _bytes(streams))


def _encoder(codec: ModuleType, samples: Slices) -> Encode:
    """Return a function from quality in dB (``None`` for lossless) to one code stream per slice."""
    # Each level of the wavelet halves the size.
    levels = min(6, min(samples.shape[1:]).bit_length())
    depth = _depth(samples)

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


def _streams_within(encode: Encode, limit: float) -> list[bytes] | None:
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
    return sum(map(len, without_repeated_headers(streams)))
