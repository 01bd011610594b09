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
        header: The header file.
        name: Relative to the folder of the header, with the characters of the header as latin-1.

    Raises:
        InputError: If there is no such file, or it lies outside the folder of the header.
    """
    folder = Path(os.path.realpath(header.parent))
    # Names of any encoding come back as the bytes that they are.
    path = Path(os.path.realpath(folder / os.fsdecode(name.encode("latin-1"))))
    if Path(name).is_absolute() or ".." in Path(name).parts or folder not in path.parents:
        raise InputError(
            f"keeps its voxels in {name!r}, which leads out of the folder of the header", _COPY
        )
    if not path.exists():
        raise InputError(f"its data file {name!r} is missing", _COPY)
    if path == Path(os.path.realpath(header)):
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
