"""Recursive search for files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def real_path(path: str | Path) -> Path:
    """Return a path without links, which is equal for all names of a file.

    Unlike `Path.resolve`, it accepts circular links, which raise an error when they are read.
    """
    return Path(os.path.realpath(path))


def walk_files(folder: Path, barred: dict[Path, str] | None = None) -> Iterator[Path]:
    """Yield the files below a folder, sorted by name, without hidden ones.

    Links to folders are followed, and each folder is searched once. Broken links count as files.
    Folders may be nested to any depth.

    Args:
        folder: Folder to search.
        barred: Receives subfolders that cannot be listed, with the reason. By default, such a
            folder raises an error.

    Raises:
        OSError: If the folder cannot be listed, or a subfolder and ``barred`` is ``None``.
    """
    seen: set[tuple[int, int]] = set()
    pending = [iter(_entries(folder, seen))]
    while pending:
        path = next(pending[-1], None)
        if path is None:
            pending.pop()
        # Unlike the method of the entry, this is False for circular links.
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
    """Return the entries of a folder sorted by name; none if it has been searched already."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return []
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(e.name for e in entries) if name[0] != "."]
