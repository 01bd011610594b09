"""Decoding of JPEG XL frames by the optional package imagecodecs."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
# Ratios of columns to rows by their code in the header.
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
# Numbers of bits of a size by selector.
_WIDTHS = (9, 13, 18, 30)
_NONE = "its compressed pixel data are not a JPEG XL image"


def jpeg_xl_size(frame: bytes) -> tuple[int, int, int]:
    """Return the rows and columns of a JPEG XL image, and 1 component (ISO 18181-1, D.3).

    Raises:
        InputError: If the bytes are not a JPEG XL image.
    """
    stream = _codestream(frame)
    bits = _Bits(stream[2:16])
    small = bits.take(1)
    rows = _side(bits, small)
    ratio = bits.take(3)
    columns = rows * _RATIOS[ratio][0] // _RATIOS[ratio][1] if ratio else _side(bits, small)
    return rows, columns, 1


def decode_jpeg_xl(frame: bytes) -> NDArray[Any]:
    """Decode a JPEG XL image whose size has been checked.

    Raises:
        InputError: If it is damaged, or the package imagecodecs is absent.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise InputError(
            "is compressed as JPEG XL, for which the package imagecodecs is needed",
            "pip install imagecodecs",
        ) from error
    try:
        array: NDArray[Any] = np.asarray(imagecodecs.jpegxl_decode(frame))
    # The decoder raises exceptions of its own for damaged data.
    except Exception as error:
        raise InputError("its JPEG XL-compressed pixel data are damaged", AGAIN) from error
    return array


class _Bits:
    """Bit reader, least significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise InputError(_NONE, AGAIN)
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


def _side(bits: _Bits, small: int) -> int:
    if small:
        return 8 * (bits.take(5) + 1)
    return 1 + bits.take(_WIDTHS[bits.take(2)])


def _codestream(frame: bytes) -> bytes:
    """Return the codestream, extracted from its container if there is one."""
    if frame.startswith(_CODESTREAM):
        return frame
    at = 0
    while frame.startswith(_CONTAINER) and at + 8 <= len(frame):
        size, kind = struct.unpack(">I4s", frame[at : at + 8])
        start = at + {b"jxlc": 8, b"jxlp": 12}.get(kind, 0)
        if start > at and frame[start : start + 2] == _CODESTREAM:
            return frame[start:]
        if size < 8:
            break
        at += size
    raise InputError(_NONE, AGAIN)
