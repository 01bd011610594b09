"""The file beside a header that holds its voxels: `.mhd` + `.raw`, `.nhdr`, `.hdr` + `.img`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ct_vae.errors import InputError

_COPY = "copy it into the folder of the header"


def data_file_path(header: Path, name: str) -> Path:
    """Return where a data file lies that a header names.

    Args:
        header: The header file. If it is a link to a file in another folder, as in a tree of links
            to an archive, the data file may lie beside that file or be such a link as well.
        name: Relative to the folder of the header, with the characters of the header as latin-1.

    Raises:
        InputError: If there is no such file, or it lies outside the folder of the header.
    """
    # Names of any encoding come back as the bytes that they are.
    plain = os.fsdecode(name.encode("latin-1"))
    real_header = Path(os.path.realpath(header))
    folder = Path(os.path.realpath(header.parent))
    linked = folder not in real_header.parents
    beside = [folder, real_header.parent] if linked else [folder]
    places = [place / plain for place in beside]
    path = Path(os.path.realpath(next(filter(os.path.lexists, places), places[0])))
    inside = linked or folder in path.parents
    if Path(plain).is_absolute() or ".." in Path(plain).parts or not inside:
        raise InputError(
            f"keeps its voxels in {name!r}, which leads out of the folder of the header", _COPY
        )
    if not path.exists():
        raise InputError(f"its data file {name!r} is missing", _COPY)
    if path == real_header:
        raise InputError("names itself as its data file", "name the file that holds the voxels")
    return path


@contextmanager
def naming(data_file: Path | None) -> Iterator[None]:
    """Say of errors of the block that they are about a data file, if there is one.

    Raises:
        InputError: If the block raises it.
    """
    try:
        yield
    except InputError as error:
        if data_file is None:
            raise
        raise InputError(f"its data file {data_file.name!r} {error.cause}", error.hint) from error
