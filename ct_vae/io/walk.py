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


def walk_files(folder: Path, barred: dict[Path, str] | None = None) -> Iterator[Path]:
    """Files below a folder in the order of their names, without what is hidden.

    Links to folders are followed, each folder once, so that circles end; links to nowhere count
    as files. Folders may be nested to any depth.

    Args:
        folder: Where to begin.
        barred: Takes the folders below it that cannot be listed, with the reason; if it is absent,
            the first of them is an error.

    Raises:
        OSError: If the folder cannot be listed, or one below it and there is no ``barred``.
    """
    seen: set[tuple[int, int]] = set()
    pending = [iter(_entries(folder, seen))]
    while pending:
        path = next(pending[-1], None)
        if path is None:
            pending.pop()
        # Unlike the entry's own answer, this one is no for a link that leads in a circle.
        elif os.path.isdir(path):  # noqa: PTH112
            try:
                pending.append(iter(_entries(path, seen)))
            except OSError as error:
                if barred is None:
                    raise
                barred[path] = f"cannot be searched: {error.strerror}"
        elif path.is_file() or path.is_symlink():
            yield path


def _entries(folder: Path, seen: set[tuple[int, int]]) -> list[Path]:
    """What lies in a folder that has not been seen before, in the order of names."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(e.name for e in entries) if name[0] != "."]
