"""Making folders, however deep they lie."""

from __future__ import annotations

from pathlib import Path


def make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing.

    Unlike `Path.mkdir` it takes any depth, for results mirror the tree of their sources.

    Raises:
        OSError: If one cannot be made, or a part of the path is a file.
    """
    missing: list[Path] = []
    here = folder
    while True:
        try:
            here.mkdir()
            break
        except FileNotFoundError:
            missing.append(here)
            here = here.parent
        except OSError:
            if not here.is_dir():
                raise
            break
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
