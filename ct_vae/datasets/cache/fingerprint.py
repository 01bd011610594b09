"""What bytes a case is read from, without reading them again while its files stay untouched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ct_vae.errors import InputError, NoInputError, OutputError
from ct_vae.io.atomic.file import sha256_file, write_text
from ct_vae.io.file_stamp import is_settled, stamps

_HEX = set("0123456789abcdef")


class Fingerprints:
    """SHA-256 of the content of cases, remembered by the stamps of their files.

    Neither names nor places of files enter: a case that has moved is the same one.

    Args:
        folder: Where they are remembered, one small file per case.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, files: Sequence[Path]) -> str:
        """Fingerprint of the files that one case is read from; their order does not count.

        Raises:
            NoInputError: If one is not there.
            InputError: If one cannot be read.
        """
        before = _stamps(files)
        memory = self._folder / f"{_digest(before)[:32]}.sha256"
        with suppress(OSError, UnicodeDecodeError):
            known = memory.read_text().strip()
            if len(known) == 64 and set(known) <= _HEX:
                return known
        found = _digest(sorted(sha256_file(path) for path in files))
        if _stamps(files) == before and is_settled(before):
            # A cache that cannot be written to still serves what it holds.
            with suppress(OutputError):
                write_text(memory, found + "\n")
        return found


def _stamps(files: Sequence[Path]) -> list[list[int]]:
    try:
        return stamps(files)
    except FileNotFoundError as error:
        raise NoInputError(f"{error.filename}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
