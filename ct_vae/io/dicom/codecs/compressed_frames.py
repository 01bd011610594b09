"""Compressed frames of DICOM files: extraction, checks against the header, and decoding.

pydicom decodes RLE. GDCM, inside SimpleITK, decodes the JPEG families. GDCM applies the rescale
elements and trusts declared sizes, so it gets a minimal header with checked values instead of that
of the file.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.dicom.codecs.gdcm_pool import Gdcm, GdcmError
from ct_vae.io.dicom.codecs.jpeg_xl import decode_jpeg_xl, jpeg_xl_size
from ct_vae.io.dicom.dataset import AGAIN, PixelPlace
from ct_vae.io.dicom.pixel_format import PixelFormat
from ct_vae.io.dicom.transfer_syntax import (
    EXPLICIT,
    FRAME_MARKERS,
    HTJ2K,
    JPEG_2000,
    JPEG_2000_ALL,
    JPEG_XL,
    RLE,
)

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
_END_OF_IMAGE = b"\xff\xd9"
_CUT = "its compressed pixel data are cut short"


def compressed_frames(place: PixelPlace, count: int) -> list[bytes]:
    """Cut the encapsulated pixel data of a file into its frames.

    Raises:
        InputError: If fragments are missing or truncated.
        OSError: If the file cannot be read.
    """
    from pydicom.encaps import generate_frames

    with place.path.open("rb") as file:
        file.seek(place.offset)
        data = file.read()
    fragments, end = _fragments(data)
    if count == 1:
        return [b"".join(fragments)]
    if len(fragments) == count:
        return fragments
    try:
        frames = list(generate_frames(data[:end], number_of_frames=count))
    # pydicom raises arbitrary exceptions for a damaged offset table.
    except Exception as error:
        raise InputError("its compressed frames cannot be separated", AGAIN) from error
    if len(frames) != count:
        raise InputError(f"has {len(frames)} compressed frames but declares {count}", AGAIN)
    return frames


def decode_frame(frame: bytes, syntax: str, pixels: PixelFormat, gdcm: Gdcm) -> NDArray[Any]:
    """Decode one compressed frame to its stored values.

    Args:
        frame: The compressed bytes.
        syntax: UID of the transfer syntax.
        pixels: Format that the header declares.
        gdcm: Decoder of the JPEG families.

    Returns:
        ``(rows, columns)`` unsigned integers of the allocated width with the stored bits.

    Raises:
        InputError: If the image does not match the header or cannot be decoded.
    """
    if syntax == RLE:
        return _decode_rle(frame, pixels)
    size = _declared_size(frame, syntax)
    wanted = (pixels.rows, pixels.columns, 1)
    if size != wanted:
        raise InputError(
            f"its compressed image has {size[0]} rows, {size[1]} columns and {size[2]} numbers "
            f"per pixel; its header declares {wanted[0]}, {wanted[1]} and {wanted[2]}",
            AGAIN,
        )
    if syntax in JPEG_XL:
        array = decode_jpeg_xl(frame)
    elif frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        array = _decode_with_gdcm(frame, syntax, pixels, gdcm)
    else:
        raise InputError(_CUT, AGAIN)
    if array.shape != wanted[:2] or array.dtype.kind not in "iu":
        raise InputError(f"is decoded as {array.shape} of type {array.dtype.name}", AGAIN)
    word = np.dtype(f"u{pixels.allocated // 8}")
    return array.astype(word, copy=False) if array.dtype.kind == "u" else _bits(array, word)


def _declared_size(frame: bytes, syntax: str) -> tuple[int, int, int]:
    """Return the declared rows, columns and components of a compressed image."""
    if syntax in JPEG_XL:
        return jpeg_xl_size(frame)
    return _jpeg_2000_size(frame) if syntax in JPEG_2000_ALL else _jpeg_size(frame)


def _bits(array: NDArray[Any], word: np.dtype[Any]) -> NDArray[Any]:
    """Return the bits of signed numbers as unsigned integers."""
    same = np.dtype(f"i{word.itemsize}")
    return array.astype(same).view(word)


def _fragments(data: bytes) -> tuple[list[bytes], int]:
    """Return the fragments after the offset table, and the offset of the end of the sequence."""
    found, at = [], 0
    while data[at : at + 4] == _ITEM and at + 8 <= len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        if at + 8 + size > len(data):
            raise InputError(_CUT, AGAIN)
        found.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    if data[at : at + 8] != _END or len(found) < 2:
        raise InputError(_CUT, AGAIN)
    return found[1:], at


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int]:
    """Return the declared rows, columns and components of a JPEG 2000 codestream."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0 or len(frame) < start + 42:
        raise InputError("its compressed pixel data are not a JPEG 2000 image", AGAIN)
    x1, y1, x0, y0 = struct.unpack(">4I", frame[start + 8 : start + 24])
    components = struct.unpack(">H", frame[start + 40 : start + 42])[0]
    return y1 - y0, x1 - x0, components


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    """Return the declared rows, columns and components of a JPEG or JPEG-LS image."""
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        size = struct.unpack(">H", frame[at + 2 : at + 4])[0]
        if marker in FRAME_MARKERS:
            rows, columns, components = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return rows, columns, components
        if size < 2 or marker == 0xDA:
            break
        at += 2 + size
    raise InputError("its compressed pixel data are not a JPEG image", AGAIN)


def _decode_rle(frame: bytes, pixels: PixelFormat) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        data = _single_frame(frame, RLE, pixels)
        array, _ = get_decoder(RLE).as_array(data, index=0, raw=True)
    # pydicom raises arbitrary exceptions for damaged data.
    except Exception as error:
        raise InputError("its RLE-compressed pixel data are damaged", AGAIN) from error
    found: NDArray[Any] = np.asarray(array)
    word = np.dtype(f"u{pixels.allocated // 8}")
    if found.shape != (pixels.rows, pixels.columns) or found.dtype.itemsize != word.itemsize:
        raise InputError(f"is decoded as {found.shape} of type {found.dtype.name}", AGAIN)
    return found.view(word)


def _decode_with_gdcm(frame: bytes, syntax: str, pixels: PixelFormat, gdcm: Gdcm) -> NDArray[Any]:
    # The JPEG 2000 codec of GDCM reads HTJ2K too, though GDCM does not know these syntaxes.
    known = JPEG_2000 if syntax in HTJ2K else syntax
    content = io.BytesIO()
    _single_frame(frame, known, pixels).save_as(content, enforce_file_format=True)
    try:
        planes = gdcm.decode(content.getvalue())
    except GdcmError as error:
        hint = AGAIN
        if syntax in HTJ2K:
            hint = (
                "if it is intact, decompress it with pydicom and the packages pylibjpeg and "
                "pylibjpeg-openjpeg (pip install pylibjpeg pylibjpeg-openjpeg)"
            )
        raise InputError("its compressed pixel data cannot be decoded", hint) from error
    return planes[0] if planes.ndim == 3 else planes


def _single_frame(frame: bytes, syntax: str, pixels: PixelFormat) -> FileDataset:
    """Return a minimal DICOM object with the pixels of one frame and their description."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    meta.MediaStorageSOPInstanceUID = UID("2.25.1")
    data = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta)
    data.SOPClassUID, data.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.rows, pixels.columns
    data.BitsAllocated, data.BitsStored = pixels.allocated, pixels.stored
    data.HighBit, data.PixelRepresentation = pixels.stored - 1, int(bool(pixels.signed))
    data.PixelData = encapsulate([frame]) if syntax != EXPLICIT else frame
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return data
