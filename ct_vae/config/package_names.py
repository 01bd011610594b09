"""Names of files and folders in the package, which commands accept instead of a path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path


def is_package_name(given: str | Path, names: Sequence[str]) -> bool:
    """Return True if an argument is one of the names, not a path.

    A string equal to a name is the name, even if the working directory has a file or folder that is
    called so; ``./NAME`` is the path. A `Path` object, which drops the ``./``, is the path if it
    exists.
    """
    return os.fspath(given) in names and not (isinstance(given, Path) and given.exists())


def is_unknown_name(given: str | Path) -> bool:
    """Return True if an argument looks like a name and no file or folder is called so."""
    path = Path(given)
    bare = path.name == os.fspath(given) and not path.suffix
    return bare and not path.exists() and not path.is_symlink()


def name_hint(given: str | Path, names: Sequence[str], kind: str) -> str:
    """Return a hint with the closest name, and with all names.

    Args:
        given: Argument of the user.
        names: Names in the package.
        kind: Plural noun for what the names stand for.
    """
    near = difflib.get_close_matches(os.fspath(given).lower(), names, n=1, cutoff=0.6)
    known = f"{kind} are {', '.join(names) or 'not installed'}"
    return f"did you mean {near[0]}? {known}" if near else known
