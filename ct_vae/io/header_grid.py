"""The grid of a volume by its header alone, before any voxel is read."""

from __future__ import annotations

from pathlib import Path

from ct_vae.grid import MAX_SHEAR, Grid
from ct_vae.io.byte_stream import GZIP_MAGIC, ByteStream, Encoding
from ct_vae.io.dicom.scan import FoundSeries
from ct_vae.io.dicom.volume import check_group
from ct_vae.io.formats import path_kind
from ct_vae.io.nifti.affine import nifti_grid
from ct_vae.io.nifti.header import parse_header
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import check_regular, reading

_NIFTI_HEADER_BYTES = 540


def header_grid(path: Path, options: ReadOptions, series: FoundSeries | None = None) -> Grid | None:
    """Return the grid of a NIfTI file or of a DICOM series that has been found.

    Args:
        path: The volume, as `ct_vae.io.read_volume` takes it.
        options: How it will be read.
        series: The series that it is, if it is one.

    Returns:
        The grid, or ``None`` where the header does not tell it: archives, folders, MetaImage and
        NRRD files, and volumes that are resampled when they are read.

    Raises:
        NoInputError: If there is no such file.
        InputError: If its header alone is reason to refuse it.
    """
    with reading(path):
        if series is not None:
            stack = check_group(series.group, options)
            return None if stack.fault else stack.grid
        if path.is_dir() or path_kind(path) not in {"nifti", "latent", "unknown"}:
            return None
        return _nifti_file_grid(path, options)


def _nifti_file_grid(path: Path, options: ReadOptions) -> Grid | None:
    size = check_regular(path)
    with path.open("rb") as raw:
        head = raw.read(len(GZIP_MAGIC))
        raw.seek(0)
        encoding: Encoding = "gzip" if head == GZIP_MAGIC else "raw"
        stream = ByteStream(raw, size, encoding)
        header = parse_header(stream.peek(_NIFTI_HEADER_BYTES))
    x, y, z = header.shape[:3]
    grid, _, _ = nifti_grid(
        header.fields, (x, y, z), options.assume_ras, options.resample_irregular
    )
    # A sheared volume is resampled onto a grid that follows from its voxels.
    return grid if grid.shear <= MAX_SHEAR else None
