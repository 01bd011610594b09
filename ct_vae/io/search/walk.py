"""The files below a folder, in a fixed order, and where a path leads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def real_path(path: str | Path) -> Path:
    """Where a path leads, by which two names of one file are known for such.

    Unlike `Path.resolve` it bears links in circles, which are refused when they are read.
    """
    return Path(os.path.realpath(path))


def walk_files(folder: Path, seen: set[tuple[int, int]] | None = None) -> Iterator[Path]:
    """Files below a folder in the order of their names, without what is hidden.

    Links to folders are followed, each folder once, so that circles end; links to nowhere count
    as files.

    Args:
        folder: Where to begin.
        seen: Folders met so far, by device and inode.

    Raises:
        OSError: If a folder cannot be listed.
    """
    seen = set() if seen is None else seen
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in visible:
        path = folder / entry.name
        # Unlike the entry's own answer, this one is no for a link that leads in a circle.
        if os.path.isdir(path):  # noqa: PTH112
            yield from walk_files(path, seen)
        elif path.is_file() or entry.is_symlink():
            yield path
