"""NIfTI pairs: a header in `.hdr` and voxels in `.img`, each compressed or not."""

from __future__ import annotations

import os
from pathlib import Path

from ct_vae.errors import InputError
from ct_vae.io.data_file import data_file_path

PAIR_SUFFIXES = (".hdr", ".hdr.gz")
# Suffixes of headers by the suffix of the data file.
_HEADERS = {"img": PAIR_SUFFIXES, "raw": (".mhd", ".nhdr"), "zraw": (".mhd",)}


def image_path(header: Path) -> Path:
    """Return the `.img` or `.img.gz` file that belongs to the `.hdr` file of a pair.

    Raises:
        InputError: If the file does not exist or is outside the folder of the header.
    """
    name, packed = header.name, ""
    if name.lower().endswith(".gz"):
        name, packed = name[:-3], name[-3:]
    stem = name[:-4] if name.lower().endswith((".hdr", ".nii")) else name
    names = [f"{stem}{end}" for end in (f".img{packed}", f".IMG{packed}", ".img", ".img.gz")]
    places = (header.parent, Path(os.path.realpath(header)).parent)
    found = (name for place in places for name in names if os.path.lexists(place / name))
    return data_file_path(header, os.fsencode(next(found, names[0])).decode("latin-1"))


def header_path(path: Path) -> Path:
    """Return the header for the `.img` file of a pair, and any other path unchanged.

    Raises:
        InputError: If the path is the data file of a MetaImage or NRRD header.
    """
    stem, _, ending = path.name.removesuffix(".gz").rpartition(".")
    endings = _HEADERS.get(ending.lower(), ())
    for header in (*endings, *map(str.upper, endings)):
        place = path.with_name(f"{stem}{header}")
        if place.exists():
            if ending.lower() == "img":
                return place
            raise InputError("has voxels without a header", f"give {stem}{header} instead")
    return path
