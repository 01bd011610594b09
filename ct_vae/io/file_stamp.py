"""Stamps of files: what the file system says of a file, the same as long as nobody touches it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

# A change within one tick of the file system's clock leaves times as they are.
SETTLED_SECONDS = 2.0


def stamp(path: Path) -> list[int]:
    """Inode, size, and times of last modification and change: equal for an untouched file.

    Raises:
        OSError: If there is no such file.
    """
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def stamps(files: Iterable[Path]) -> list[list[int]]:
    """Stamps of several files, sorted, so that the order of the files does not count.

    Raises:
        OSError: If one is not there.
    """
    return sorted(stamp(path) for path in files)


def is_settled(found: Sequence[Sequence[int]]) -> bool:
    """Whether the last change lies so far back that another would have changed a stamp."""
    latest = max((max(each[2:]) for each in found), default=0) / 1e9
    return time.time() - latest > SETTLED_SECONDS
