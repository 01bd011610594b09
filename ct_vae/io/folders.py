"""Creation of folders at any depth."""

from __future__ import annotations

import os
from pathlib import Path

from ct_vae.errors import OutputError

_PERMISSION = "give yourself write permission there or choose another folder"


def check_writable(folder: Path) -> None:
    """Check, without writing, that a folder is writable or can be created.

    Raises:
        OutputError: If it is not writable and cannot be created.
    """
    here = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), folder)
    if not here.is_dir():
        raise OutputError(f"cannot write {folder}: {here} is a file", "choose another folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {folder}: {here} cannot be written to", _PERMISSION)


def make_folders(folder: Path) -> None:
    """Create a folder and its missing parents.

    Unlike `Path.mkdir`, it works at any depth; outputs mirror the tree of their sources.

    Raises:
        OSError: If a folder cannot be created, or a part of the path is a file.
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
