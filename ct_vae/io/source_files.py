"""Files that contain the voxels of a volume."""

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

    A header with a separate data file is followed by that file.

    Args:
        path: Path as for `ct_vae.io.read_volume`.
        series: The DICOM series, if a search has found one.

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
    """Return the separate data file of a header, if there is one and it exists."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if is_metaimage(head) or is_nrrd(head):
            data_file = load_header(path)[1]
        elif path.name.lower().endswith(PAIR_SUFFIXES):
            data_file = image_path(path)
        else:
            return ()
    except (OSError, ValueError, InputError):
        # Reading the volume reports the error.
        return ()
    return () if data_file is None else (data_file,)
