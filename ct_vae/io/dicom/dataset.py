"""Parsing of a DICOM data set up to its pixel data."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ct_vae.errors import InputError
from ct_vae.io.dicom.transfer_syntax import (
    BIG_ENDIAN,
    DEFLATED,
    ENCAPSULATED,
    EXPLICIT,
    IMPLICIT,
    NATIVE,
    frame_syntax,
    native_syntax,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

AGAIN = "copy or export it again"
# Deflated headers are inflated up to the first limit, then up to the second. Parsing small elements
# takes up to a second per megabyte, so headers beyond the first limit must not exceed the size of
# the file.
_HEADER_BYTES = (1 << 20, 1 << 26)
# Bytes for the detection of the encoding; deflated data begin with their code tables.
_PROOF_BYTES = 1 << 10
# The signature of a compressed frame is within this many bytes.
_SIGNATURE_BYTES = 1 << 14
_CHUNK_BYTES = 1 << 20
_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = (0x7FE0, 0x0010)
_PIXEL_KINDS = (b"OB", b"OW", b"UN")
_FLOAT_PIXELS = ((0x7FE0, 0x0008), (0x7FE0, 0x0009))


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Location of the pixel data in a file.

    Attributes:
        path: The file.
        syntax: UID of the transfer syntax as detected.
        declared: UID of the transfer syntax in the meta header; empty if absent.
        start: First byte of the deflated part; 0 in other files.
        offset: First byte of the pixel data, counted in the inflated part of a deflated file.
        length: Declared number of bytes; ``None`` for encapsulated frames.
        available: Bytes up to the end of the file; ``None`` in a deflated file.
    """

    path: Path
    syntax: str
    declared: str
    start: int
    offset: int
    length: int | None
    available: int | None


def parse(
    file: BinaryIO, path: Path, declared: str, start: int, tags: list[str | int]
) -> tuple[Dataset, PixelPlace | None]:
    """Read elements of a data set and locate its pixel data.

    Args:
        file: The open file.
        path: Path of the file.
        declared: UID of the transfer syntax in the meta header, or ``""``.
        start: First byte after the meta header.
        tags: Keywords or numbers of the elements to keep.

    Raises:
        InputError: If the file is truncated or its pixel data element is inconsistent.
        Exception: Any exception of pydicom for a damaged header.
    """
    file.seek(start)
    encoding = native_syntax(file.read(_PROOF_BYTES), declared)
    if encoding == DEFLATED:
        return _parse_deflated(path, declared, start, tags)
    dataset = _elements(file, start, encoding, declared, tags)
    implicit, little = dataset.original_encoding
    if encoding not in NATIVE:
        encoding = IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
    element = file.tell()
    found = _pixel_element(file.read(12), bool(implicit), bool(little))
    if found is None:
        _refuse_cut(dataset, tags, element > file.seek(0, io.SEEK_END))
        return dataset, None
    offset, length = element + found[0], found[1]
    syntax = _pixel_syntax(_first_frame(file, offset, length), encoding, declared)
    available = max(0, file.seek(0, io.SEEK_END) - offset)
    return dataset, PixelPlace(path, syntax, declared, 0, offset, length, available)


def _elements(
    file: BinaryIO, start: int, encoding: str, declared: str, tags: list[str | int]
) -> Dataset:
    """Read the requested elements; the file is left at the pixel data element."""
    from pydicom import dcmread
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    keep: list[BaseTag | int] = [Tag(tag) for tag in tags]
    expected = declared if declared in NATIVE else EXPLICIT
    if encoding == expected or encoding not in NATIVE:
        file.seek(0)
        return dcmread(file, stop_before_pixels=True, force=True, specific_tags=keep)
    # pydicom relies on the meta header for the byte order.
    file.seek(start)
    implicit, little = encoding == IMPLICIT, encoding != BIG_ENDIAN
    dataset = read_dataset(
        file, implicit, little, stop_when=_is_pixel_group, specific_tags=keep, at_top_level=True
    )
    dataset.set_original_encoding(implicit, little)
    return dataset


def _is_pixel_group(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group == 0x7FE0


def _first_frame(file: BinaryIO, offset: int, length: int | None) -> bytes | None:
    """Return the first bytes of the first compressed frame, or ``None`` if not compressed."""
    if length is not None:
        return None
    file.seek(offset)
    table = file.read(8)
    if len(table) == 8:
        file.seek(struct.unpack("<I", table[4:])[0] + 8, io.SEEK_CUR)
    return file.read(_SIGNATURE_BYTES)


def _pixel_syntax(frame: bytes | None, encoding: str, declared: str) -> str:
    """Return the transfer syntax of pixel data."""
    if frame is None:
        # Pixel data with a defined length are not compressed.
        return encoding if not declared or declared in ENCAPSULATED | NATIVE else declared
    syntax = frame_syntax(frame, declared)
    if syntax in NATIVE or not syntax:
        raise InputError(
            f"its pixel data are compressed, which its transfer syntax {syntax} is not", AGAIN
        )
    return syntax


def _refuse_cut(dataset: Dataset, tags: list[str | int], beyond: bool) -> None:
    """Raise an error if the last value has fewer bytes than declared."""
    items = [dataset.get_item(tag) for tag in tags if tag in dataset]
    cut = [
        item
        for item in items
        if isinstance(getattr(item, "value", None), bytes)
        and len(item.value) < getattr(item, "length", 0) != _UNDEFINED
    ]
    if beyond or cut:
        raise InputError("is truncated: it ends within its header", AGAIN)


def _parse_deflated(
    path: Path, declared: str, start: int, tags: list[str | int]
) -> tuple[Dataset, PixelPlace | None]:
    size = path.stat().st_size
    most = max(_HEADER_BYTES[0], size)
    for limit in sorted({min(each, most) for each in _HEADER_BYTES}):
        data = inflate(path, start, limit)
        dataset, element = _parse_inflated(data, tags, whole=len(data) < limit)
        found = _pixel_element(data[element : element + 12], False, True)
        if found is not None:
            offset, length = element + found[0], found[1]
            syntax = _pixel_syntax(None if length is not None else b"", DEFLATED, declared)
            return dataset, PixelPlace(path, syntax, declared, start, offset, length, None)
        if len(data) < limit:
            return dataset, None
    raise InputError(
        f"has a header of more than {limit} bytes in a deflated file of {size} bytes", AGAIN
    )


def _parse_inflated(data: bytes, tags: list[str | int], *, whole: bool) -> tuple[Dataset, int]:
    """Read the elements of a data set and the offset of its pixel data.

    Args:
        data: First bytes of the data set.
        tags: Elements to keep.
        whole: True if ``data`` is the complete data set; otherwise an element may be cut.

    Returns:
        The elements, and the offset of the pixel data or the end of ``data``.
    """
    from pydicom.dataset import Dataset as Empty
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    stream = io.BytesIO(data)
    try:
        dataset = read_dataset(
            stream,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=_is_pixel_group,
            specific_tags=[Tag(tag) for tag in tags],
        )
    # pydicom raises arbitrary exceptions for cut elements.
    except Exception:
        if whole:
            raise
        return Empty(), len(data)
    return dataset, stream.tell()


def _pixel_element(head: bytes, implicit: bool, little: bool) -> tuple[int, int | None] | None:
    """Return the sizes of the header and value of the pixel element, or ``None`` if absent."""
    order = "<" if little else ">"
    if len(head) < 8:
        return None
    tag = struct.unpack(f"{order}HH", head[:4])
    if tag in _FLOAT_PIXELS:
        raise InputError("holds floating-point pixel data, which CT images do not have")
    if tag != _PIXEL_DATA or (not implicit and len(head) < 12):
        return None
    if not implicit and head[4:6] not in _PIXEL_KINDS:
        raise InputError("its pixel data have no value representation of pixels", AGAIN)
    size = 8 if implicit else 12
    length = struct.unpack(f"{order}I", head[size - 4 : size])[0]
    return size, None if length == _UNDEFINED else length


def inflate(path: Path, start: int, limit: int) -> bytes:
    """Inflate at most ``limit`` bytes of the deflated part of a file.

    Raises:
        InputError: If the stream is damaged or ends too early.
    """
    stream, pieces, count = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    with path.open("rb") as file:
        file.seek(start)
        while count < limit and not stream.eof:
            fed = stream.unconsumed_tail or file.read(_CHUNK_BYTES)
            if not fed:
                raise InputError("is truncated: its deflated part has no end", AGAIN)
            try:
                piece = stream.decompress(fed, min(_CHUNK_BYTES, limit - count))
            except zlib.error as error:
                raise InputError("is damaged: it cannot be inflated", AGAIN) from error
            pieces.append(piece)
            count += len(piece)
    return b"".join(pieces)
