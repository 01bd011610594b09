"""Detection of DICOM files and reading of their headers.

A DICOM file has the letters DICM after 128 bytes. Older exports lack this preamble: they begin with
an element of group 2 or 8 and have a SOP class or a modality.
"""

from __future__ import annotations

import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN, PixelPlace, parse

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
_HEAD_BYTES = 1 << 16


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings of pydicom about invalid values; safe for several threads."""
    with _quiet_lock:
        _quiet_state.enter()
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_state.leave()


def is_dicom(head: bytes) -> bool:
    """Return True if the first bytes of a file (132 or more) have a DICOM preamble."""
    return head[128:132] == b"DICM"


def read_header(path: Path, tags: list[str | int]) -> tuple[Dataset, str, PixelPlace | None] | None:
    """Read the header of a file up to its pixel data.

    Args:
        path: A regular file.
        tags: Keywords of the elements to keep.

    Returns:
        The elements, the SOP class in the meta header (or ``""``), and the location of the pixel
        data (``None`` if there are none); or ``None`` if the file is not a DICOM file.

    Raises:
        InputError: If the file is a damaged DICOM file, or has the name of one.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        bare = not is_dicom(head)
        if bare and not _is_bare(head):
            _refuse_misnamed(path, head)
            return None
        meta, start = ({}, 0) if bare else _meta_elements(head)
        try:
            dataset, place = parse(file, path, meta.get(0x10, ""), start, tags)
        except RecursionError as error:
            raise InputError("has a header nested too deeply", AGAIN) from error
        # pydicom raises arbitrary exceptions for damaged files.
        except Exception as error:
            if bare and not isinstance(error, OSError):
                return None
            if isinstance(error, (InputError, OSError)):
                raise
            raise InputError(f"has a damaged header ({type(error).__name__})", AGAIN) from error
    if bare and not ("SOPClassUID" in dataset or "Modality" in dataset):
        return None
    return dataset, meta.get(0x02, ""), place


class _Quiet:
    """Warning filter that the first of several threads sets and the last one removes."""

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
    """Return True if bytes look like the start of a data set without preamble."""
    if len(head) < 12:
        return False
    group, element, size = struct.unpack("<HHI", head[:8])
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return size <= 1024 or re.fullmatch(rb"[A-Z]{2}", head[4:6]) is not None


def _refuse_misnamed(path: Path, head: bytes) -> None:
    """Raise an error for a file that may be a damaged slice by its name or its first bytes."""
    named = path.name.lower().endswith(_SUFFIXES)
    if not head:
        if named:
            raise InputError("is empty (0 bytes)", AGAIN)
        return
    if head.startswith(b"version https://git-lfs"):
        if named:
            raise InputError("is a Git LFS pointer instead of the file", "run git lfs pull")
        return
    if not head.strip(b"\0") and len(head) <= 128:
        raise InputError(f"is truncated: it has only {len(head)} bytes, all zero", AGAIN)
    if named or (not head[:128].strip(b"\0") and b"DICM".startswith(head[128:132])):
        raise InputError("has the name of a DICOM file, but no DICOM header", AGAIN)


def _meta_elements(head: bytes) -> tuple[dict[int, str], int]:
    """Return the UIDs of group 2, which is explicit little-endian, and the offset of its end."""
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
