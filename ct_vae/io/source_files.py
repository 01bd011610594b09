"""The files whose bytes decide about the voxels of a volume."""

from __future__ import annotations

from pathlib import Path

from ct_vae.errors import InputError
from ct_vae.io.dicom.scan import FoundSeries, split_series_path
from ct_vae.io.mha_nrrd.header import is_metaimage, is_nrrd
from ct_vae.io.mha_nrrd.reader import load_header
from ct_vae.io.nifti.pair import PAIR_SUFFIXES, header_path, image_path
from ct_vae.io.walk import walk_files

_HEAD_BYTES = 16


def source_files(path: Path, series: FoundSeries | None = None) -> tuple[Path, ...]:
    """Return the file or archive of a volume, or every file of its DICOM series or folder.

    A header whose voxels lie in another file is followed by that file.

    Args:
        path: As `ct_vae.io.read_volume` takes it.
        series: The series that it is, if it has been found as one.

    Raises:
        OSError: If a folder cannot be listed.
    """
    place, _ = split_series_path(path)
    if not place.is_dir():
        try:
            place = header_path(place)
        except InputError:
            return (place,)
        return (place, *data_files(place))
    return (series.files if series else ()) or tuple(walk_files(place))


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the file that holds the voxels of a header, if that is another one and is there."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if is_metaimage(head) or is_nrrd(head):
            beside = load_header(path)[1]
        elif path.name.lower().endswith(PAIR_SUFFIXES):
            beside = image_path(path)
        else:
            return ()
    except (OSError, ValueError, InputError):
        # Reading it says what is wrong.
        return ()
    return () if beside is None else (beside,)
