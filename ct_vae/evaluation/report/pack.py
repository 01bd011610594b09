"""Lossless compression of whole HU for the page, in a format that browsers decompress."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray


def whole_hu(voxels: NDArray[np.generic]) -> NDArray[np.int16]:
    """Round to whole HU as in int16 files; int16 input is returned unchanged."""
    if voxels.dtype == np.int16:
        return voxels.astype(np.int16, copy=False)
    limits = np.iinfo(np.int16)
    rounded: NDArray[np.int16] = (
        np.rint(voxels.astype(np.float32)).clip(*_ends(limits)).astype("i2")
    )
    return rounded


def pack(values: NDArray[np.int16]) -> bytes:
    """Compress whole HU without loss.

    Differences of neighbors in memory (modulo 2^16) are stored with the sign in the lowest bit, all
    low bytes before all high bytes, which are mostly zero, and compressed with raw deflate (RFC
    1951).

    Args:
        values: Array of any shape; the first difference is to zero.
    """
    flat = np.ascontiguousarray(values).ravel()
    step = np.diff(flat, prepend=np.int16(0))
    folded = ((step << 1) ^ (step >> 15)).view(np.uint16)
    planes = (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    return base64.b64encode(deflate.compress(planes) + deflate.flush())


def _ends(limits: np.iinfo[np.int16]) -> tuple[int, int]:
    return int(limits.min), int(limits.max)
