"""Whole Hounsfield units as text inside a page, exact, that a browser inflates by itself."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray


def whole_hu(voxels: NDArray[np.generic]) -> NDArray[np.int16]:
    """Round to whole HU, as int16 files would hold them; int16 is taken as it is."""
    if voxels.dtype == np.int16:
        return voxels.astype(np.int16, copy=False)
    limits = np.iinfo(np.int16)
    rounded: NDArray[np.int16] = (
        np.rint(voxels.astype(np.float32)).clip(*_ends(limits)).astype("i2")
    )
    return rounded


def pack(values: NDArray[np.int16]) -> bytes:
    """Compress whole HU without loss.

    Neighbours in memory are subtracted (modulo 2^16), the sign goes to the lowest bit, and all low
    bytes come before all high bytes, which are nearly always zero; raw deflate (RFC 1951) follows.

    Args:
        values: Any shape; the first difference is to zero.
    """
    flat = np.ascontiguousarray(values).ravel()
    step = np.diff(flat, prepend=np.int16(0))
    folded = ((step << 1) ^ (step >> 15)).view(np.uint16)
    planes = (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    return base64.b64encode(deflate.compress(planes) + deflate.flush())


def _ends(limits: np.iinfo[np.int16]) -> tuple[int, int]:
    return int(limits.min), int(limits.max)
