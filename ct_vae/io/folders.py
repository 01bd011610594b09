"""Making folders, however deep they lie."""

from __future__ import annotations

import os
from pathlib import Path

from ct_vae.errors import OutputError

_PERMISSION = "give yourself write permission there or choose another folder"


def check_writable(folder: Path) -> None:
    """Find out, without writing, whether a folder is there to be written to or could be made.

    Raises:
        OutputError: If it could not.
    """
    here = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), folder)
    if not here.is_dir():
        raise OutputError(f"cannot write {folder}: {here} is a file", "choose another folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {folder}: {here} cannot be written to", _PERMISSION)


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
