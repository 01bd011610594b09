"""Fingerprints of the files of cases, remembered as long as the files are unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.errors import InputError, NoInputError, OutputError
from ct_vae.io.atomic.file import sha256_file, write_text
from ct_vae.io.file_stamp import is_settled, stamps

# Folder of fingerprints in a cache.
CONTENTS = "contents"
_HEX = set("0123456789abcdef")


class Fingerprints:
    """SHA-256 of the content of cases, remembered by the stamps of their files.

    Fingerprints do not depend on names and paths, so a case can be moved.

    Args:
        folder: Folder with one small file per case; ``None`` to remember nothing.
        remember: True to store new fingerprints.
    """

    def __init__(self, folder: Path | None, remember: bool = True) -> None:
        self._folder = folder
        self._remember = remember

    def of(self, files: Sequence[Path]) -> str:
        """Return the fingerprint of the files of a case, independent of their order.

        Raises:
            NoInputError: If a file does not exist.
            InputError: If a file cannot be read.
        """
        before = _stamps(files)
        if self._folder is None:
            return _content(files)
        memory = self._folder / f"{_digest(before)[:32]}.sha256"
        with suppress(OSError, UnicodeDecodeError):
            known = memory.read_text().strip()
            if len(known) == 64 and set(known) <= _HEX:
                return known
        found = _content(files)
        if self._remember and _stamps(files) == before and is_settled(before):
            # A read-only cache can still be used.
            with suppress(OutputError):
                write_text(memory, found + "\n")
        return found


def case_digests(
    cases: Sequence[TrainingCase], cache_dir: str | None, remember: bool = True
) -> list[str]:
    """Return digests of cases that do not depend on names and paths.

    Args:
        cases: Cases, whose files are read unless the cache has their fingerprints.
        cache_dir: Folder of the cache, if there is one.
        remember: True if the cache may be written to.

    Returns:
        16 hexadecimal digits per case, from the bytes of its files and the options of reading.

    Raises:
        NoInputError: If a file does not exist.
        InputError: If a file cannot be read.
    """
    folder = None if cache_dir is None else Path(cache_dir) / CONTENTS
    known = Fingerprints(folder, remember)
    found = [[known.of(case.files) if case.files else "", case.recipe] for case in cases]
    return [_digest(each)[:16] for each in found]


def _content(files: Sequence[Path]) -> str:
    return _digest(sorted(sha256_file(path) for path in files))


def _stamps(files: Sequence[Path]) -> list[list[int]]:
    try:
        return stamps(files)
    except FileNotFoundError as error:
        raise NoInputError(f"{error.filename}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from error


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
