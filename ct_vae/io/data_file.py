"""Data files of detached headers: `.mhd` + `.raw`, `.nhdr`, `.hdr` + `.img`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ct_vae.errors import InputError

_COPY = "copy it into the folder of the header"


def data_file_path(header: Path, name: str) -> Path:
    """Return the path of the data file that a header names.

    Args:
        header: The header file. If it is a link to a file in another folder, as in a tree of links
            to an archive, the data file may be next to that file or a link as well.
        name: Name relative to the folder of the header, with the bytes of the header as latin-1.

    Raises:
        InputError: If the file does not exist or is outside the folder of the header.
    """
    # Encoding restores the bytes of names in any character set.
    plain = os.fsdecode(name.encode("latin-1"))
    real_header = Path(os.path.realpath(header))
    folder = Path(os.path.realpath(header.parent))
    linked = folder not in real_header.parents
    folders = [folder, real_header.parent] if linked else [folder]
    candidates = [each / plain for each in folders]
    path = Path(os.path.realpath(next(filter(os.path.lexists, candidates), candidates[0])))
    inside = linked or folder in path.parents
    if Path(plain).is_absolute() or ".." in Path(plain).parts or not inside:
        raise InputError(
            f"keeps its voxels in {name!r}, which is outside the folder of the header", _COPY
        )
    if not path.exists():
        raise InputError(f"its data file {name!r} is missing", _COPY)
    if path == real_header:
        raise InputError("names itself as its data file", "name the file that holds the voxels")
    return path


@contextmanager
def naming(data_file: Path | None) -> Iterator[None]:
    """Add the name of the data file, if there is one, to input errors of the block.

    Raises:
        InputError: If the block raises an InputError.
    """
    try:
        yield
    except InputError as error:
        if data_file is None:
            raise
        raise InputError(f"its data file {data_file.name!r} {error.cause}", error.hint) from error
