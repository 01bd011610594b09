"""The files whose bytes decide about the voxels of a volume."""

from __future__ import annotations

from pathlib import Path

from ct_vae.io.dicom.scan import FoundSeries, split_series_path
from ct_vae.io.search.walk import walk_files


def source_files(path: Path, series: FoundSeries | None = None) -> tuple[Path, ...]:
    """The file or archive of a volume, or every file of its DICOM series or folder.

    Args:
        path: As `ct_vae.io.read_volume` takes it.
        series: The series that it is, if it has been found as one.

    Raises:
        OSError: If a folder cannot be listed.
    """
    place, _ = split_series_path(path)
    if not place.is_dir():
        return (place,)
    return (series.files if series else ()) or tuple(walk_files(place))
