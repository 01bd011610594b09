"""One DICOM file: whether it is one, its header, and where its pixels lie.

A file counts as DICOM by the letters DICM after 128 bytes. Without them it counts if it begins
with an element of group 2 or 8 (older exports lack the preamble) and then declares what it is.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ct_vae.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}

AGAIN = "copy or export it again"
_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
_HEAD_BYTES = 1 << 16
# A header is inflated up to the first of these, and to the second if its pixels come later.
_HEADER_BYTES = (1 << 20, 1 << 26)
_CHUNK_BYTES = 1 << 20
_UNDEFINED = 0xFFFFFFFF
_PIXEL_DATA = (0x7FE0, 0x0010)
_FLOAT_PIXELS = ((0x7FE0, 0x0008), (0x7FE0, 0x0009))


@dataclass(frozen=True, slots=True)
class PixelPlace:
    """Where the pixel data of a file are.

    Attributes:
        path: The file.
        syntax: UID of the transfer syntax.
        start: First byte of the deflated part; 0 in other files.
        offset: First byte of the pixel data, counted in the inflated part of a deflated file.
        length: Declared bytes; ``None`` for encapsulated frames, whose length is not declared.
        available: Bytes from there to the end of the file; unknown in a deflated file.
    """

    path: Path
    syntax: str
    start: int
    offset: int
    length: int | None
    available: int | None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's remarks about odd values off the terminal; threads may share it."""
    with _quiet_lock:
        _quiet_state.enter()
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_state.leave()


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes (132 or more) is a DICOM file for certain."""
    return head[128:132] == b"DICM"


def read_header(path: Path, tags: list[str | int]) -> tuple[Dataset, str, PixelPlace | None] | None:
    """Read the header of a file up to its pixels.

    Args:
        path: An ordinary file.
        tags: Keywords of the elements to keep.

    Returns:
        The elements, the SOP class by its meta header (or ``""``), and where the pixels lie
        (``None`` if there are none); or nothing at all if this is no DICOM file.

    Raises:
        InputError: If it is, or is named like, a DICOM file that is damaged.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        bare = not is_dicom(head)
        if bare and not _is_bare(head):
            _refuse_misnamed(path, head)
            return None
        meta, start = ({}, 0) if bare else _meta_elements(head)
        try:
            dataset, place = _parse(file, path, meta.get(0x10, ""), start, tags)
        except RecursionError as error:
            raise InputError("has a header nested too deeply", AGAIN) from error
        # pydicom answers damage with any exception there is.
        except Exception as error:
            if bare and not isinstance(error, OSError):
                return None
            if isinstance(error, (InputError, OSError)):
                raise
            raise InputError(f"has a damaged header ({type(error).__name__})", AGAIN) from error
    if bare and not ("SOPClassUID" in dataset or "Modality" in dataset):
        return None
    return dataset, meta.get(0x02, ""), place


def inflate(path: Path, start: int, limit: int) -> bytes:
    """Inflate the deflated part of a file, at most ``limit`` bytes of it.

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


class _Quiet:
    """Counts who is inside, so that the first sets the filter and the last removes it."""

    def __init__(self) -> None:
        self.inside = 0
        self.filters: Any = None

    def enter(self) -> None:
        if not self.inside:
            self.filters = warnings.catch_warnings()
            self.filters.__enter__()
            warnings.filterwarnings("ignore", module=r"pydicom")
        self.inside += 1

    def leave(self) -> None:
        self.inside -= 1
        if not self.inside:
            self.filters.__exit__(None, None, None)


_quiet_lock = threading.Lock()
_quiet_state = _Quiet()


def _is_bare(head: bytes) -> bool:
    """Whether bytes begin like a data set without preamble."""
    if len(head) < 12:
        return False
    group, element, size = struct.unpack("<HHI", head[:8])
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return size <= 1024 or re.fullmatch(rb"[A-Z]{2}", head[4:6]) is not None


def _refuse_misnamed(path: Path, head: bytes) -> None:
    """What is named like a DICOM file, or is the beginning of a cut one, may be a lost slice."""
    named = path.name.lower().endswith(_SUFFIXES)
    if not head:
        if named:
            raise InputError("is empty (0 bytes)", AGAIN)
        return
    if head.startswith(b"version https://git-lfs"):
        if named:
            raise InputError("is a Git LFS pointer, not the file itself", "run git lfs pull")
        return
    if not head.strip(b"\0") and len(head) <= 128:
        raise InputError(f"is truncated: it has only {len(head)} bytes, all zero", AGAIN)
    if named or (not head[:128].strip(b"\0") and b"DICM".startswith(head[128:132])):
        raise InputError("is named like a DICOM file, but has no DICOM header", AGAIN)


def _meta_elements(head: bytes) -> tuple[dict[int, str], int]:
    """Group 2, always in explicit little-endian: its UIDs by element number, and its end."""
    found: dict[int, str] = {}
    at = 132
    while head[at : at + 2] == b"\2\0" and at + 8 <= len(head):
        element, kind = struct.unpack("<H", head[at + 2 : at + 4])[0], head[at + 4 : at + 6]
        long = kind in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR")
        value = at + (12 if long else 8)
        if value > len(head):
            break
        size = struct.unpack("<I" if long else "<H", head[value - (4 if long else 2) : value])[0]
        if kind == b"UI":
            text = head[value : value + size].decode("ascii", "replace")
            found[element] = text.strip("\0 ")
        at = value + size
    return found, at


def _parse(
    file: BinaryIO, path: Path, syntax: str, start: int, tags: list[str | int]
) -> tuple[Dataset, PixelPlace | None]:
    from pydicom import dcmread
    from pydicom.tag import Tag

    if syntax == DEFLATED:
        return _parse_deflated(path, start, tags)
    file.seek(0)
    keep = [Tag(tag) for tag in tags]
    dataset = dcmread(file, stop_before_pixels=True, force=True, specific_tags=keep)
    implicit, little = dataset.original_encoding
    syntax = syntax or (IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN)
    element = file.tell()
    found = _pixel_element(file.read(12), bool(implicit), bool(little), syntax)
    if found is None:
        _refuse_cut(dataset, tags, element > file.seek(0, io.SEEK_END))
        return dataset, None
    offset, length = element + found[0], found[1]
    available = max(0, file.seek(0, io.SEEK_END) - offset)
    return dataset, PixelPlace(path, syntax, 0, offset, length, available)


def _refuse_cut(dataset: Dataset, tags: list[str | int], beyond: bool) -> None:
    """Refuse a header whose last value has fewer bytes than it declares."""
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
    path: Path, start: int, tags: list[str | int]
) -> tuple[Dataset, PixelPlace | None]:
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    for limit in _HEADER_BYTES:
        stream = io.BytesIO(inflate(path, start, limit))
        dataset = read_dataset(
            stream,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, _vr, _length: tag.group == 0x7FE0,
            specific_tags=[Tag(tag) for tag in tags],
        )
        element = stream.tell()
        found = _pixel_element(stream.read(12), False, True, DEFLATED)
        if found is not None:
            offset, length = element + found[0], found[1]
            return dataset, PixelPlace(path, DEFLATED, start, offset, length, None)
    return dataset, None


def _pixel_element(
    head: bytes, implicit: bool, little: bool, syntax: str
) -> tuple[int, int | None] | None:
    """Size of the header of the pixel element, and of its value; nothing if there is none."""
    order = "<" if little else ">"
    if len(head) < 8:
        return None
    tag = struct.unpack(f"{order}HH", head[:4])
    if tag in _FLOAT_PIXELS:
        raise InputError("holds floating-point pixel data, which CT images do not have")
    if tag != _PIXEL_DATA or (not implicit and len(head) < 12):
        return None
    size = 8 if implicit else 12
    length = struct.unpack(f"{order}I", head[size - 4 : size])[0]
    if (length == _UNDEFINED) == (syntax in NATIVE):
        raise InputError(f"its pixel data do not suit its transfer syntax {syntax}", AGAIN)
    return size, None if length == _UNDEFINED else length
