"""Temporary files and folders of killed writers; each process lists a folder only once."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Literal

_LONGEST_NAME = 255
_ENDINGS: tuple[Literal["tmp", "old"], ...] = ("tmp", "old")
_SUFFIX = re.compile(r"[0-9a-f]{8}\.(tmp|old)")
_ANY = re.compile(r"\..*\.[0-9a-f]{8}\.(tmp|old)", re.DOTALL)

# Names found in each folder, by device and inode. Listing a large folder for every file would be
# slow.
_found: dict[tuple[int, int], set[str]] = {}
_changing = threading.Lock()


def temporary_prefix(target: Path) -> str:
    """Return the start of temporary names for a target; 8 digits and `.tmp` or `.old` follow."""
    name = f".{target.name}."
    if len(os.fsencode(name)) + len("01234567.tmp") <= _LONGEST_NAME:
        return name
    return f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}."


def numbered(target: Path, ending: Literal["tmp", "old"]) -> Iterator[Path]:
    """Yield temporary names for a target in the order of use.

    Leftovers of a killed writer have the first of these names, so the folder need not be listed.
    """
    for number in count():
        yield target.parent / f"{temporary_prefix(target)}{number:08x}.{ending}"


def leftovers(target: Path) -> list[tuple[Path, str]]:
    """Return possible leftovers of earlier writes to a target, each with ``tmp`` or ``old``.

    Raises:
        OSError: If the folder of the target cannot be listed.
    """
    prefix = temporary_prefix(target)
    with _changing:
        names = _names_in(target.parent)
        own = [n for n in names if n.startswith(prefix) and _SUFFIX.fullmatch(n[len(prefix) :])]
        found = {target.parent / name for name in own}
        for ending in _ENDINGS:
            found.update(takewhile(os.path.lexists, numbered(target, ending)))
        paths = sorted(found)
        # Leftovers that still exist, as a running process has locked them, are kept in the list.
        names.difference_update(path.name for path in paths if not os.path.lexists(path))
    return [(path, path.name[-3:]) for path in paths]


def _names_in(folder: Path) -> set[str]:
    status = folder.stat()
    key = status.st_dev, status.st_ino
    if key not in _found:
        listed = os.listdir(folder)  # noqa: PTH208 - a folder may hold very many files
        _found[key] = set(filter(_ANY.fullmatch, listed))
    return _found[key]
