"""Conversion of all errors of reading into one error with the name of the file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.latent import CODED_MAGIC

_FOREIGN = (
    (CODED_MAGIC, "is a latent of this package, not a CT volume", "decode it instead"),
    (b"version https://git-lfs", "is a Git LFS pointer instead of the file", "run git lfs pull"),
    (b"PK\x03\x04", "is a zip archive", "unpack it and give its content"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstandard", "unpack it with zstd -d"),
    (b"\xfd7zXZ\x00", "is compressed with xz", "unpack it with xz -d"),
    (b"BZh", "is compressed with bzip2", "unpack it with bzip2 -d"),
    (b"\x89HDF", "is an HDF5 file", "convert it to NIfTI"),
    (b"{", "looks like JSON text, not an image", "give the image file"),
)
_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Add the name of a file to the errors of a block.

    Raises:
        NoInputError: If the file does not exist.
        InputError: If the file cannot be read, or does not fit into memory.
        CtVaeError: Any such error of the block, with the name of the file.
    """
    try:
        yield
    except CtVaeError as error:
        raise type(error)(f"{path}: {error.cause}", error.hint) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoInputError(f"{path}: there is no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}") from error
    except MemoryError as error:
        raise InputError(f"{path}: does not fit into this machine's memory") from error


def check_regular(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        InputError: If the path is a folder, a pipe or a device, or if the file is empty.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder, not an image file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is a device or a pipe, not a regular file")
    if status.st_size == 0:
        raise InputError("is empty (0 bytes)", "copy or download it again")
    return status.st_size


def refuse_foreign(head: bytes) -> None:
    """Raise a specific error for known other formats with the name of an image.

    Args:
        head: The first bytes of the file, decompressed.

    Raises:
        InputError: If the bytes have a known format other than an image volume.
    """
    again = "copy or download it again"
    if not head:
        raise InputError("is empty after decompression", again)
    if not head.strip(b"\0"):
        raise InputError(f"has only zeros instead of a header ({len(head)} bytes)", again)
    if head.lstrip().lower().startswith(_MARKUP):
        raise InputError("is a web page (HTML or XML), not an image: the download failed", again)
    if head[128:132] == b"DICM":
        raise InputError("is a DICOM file, not a volume", "give the folder of its series")
    for magic, cause, hint in _FOREIGN:
        if head.startswith(magic):
            raise InputError(cause, hint)
