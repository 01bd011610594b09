"""Stamps of files: metadata of the file system that stay equal until the file changes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

# Changes within one tick of the file system's clock do not change the times.
SETTLED_SECONDS = 2.0


def stamp(path: Path) -> list[int]:
    """Return inode, size, and times of the last modification and status change.

    Raises:
        OSError: If the file does not exist.
    """
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamps(files: Iterable[Path]) -> list[list[int]]:
    """Return the sorted stamps of several files, independent of the order of the files.

    Raises:
        OSError: If a file does not exist.
    """
    return sorted(stamp(path) for path in files)


def is_settled(found: Sequence[Sequence[int]]) -> bool:
    """Return True if the last change is old enough that another one would change a stamp."""
    latest = max((max(each[2:]) for each in found), default=0) / 1e9
    return time.time() - latest > SETTLED_SECONDS
