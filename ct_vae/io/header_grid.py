"""Reading of the grid of a volume from its header, without the voxels."""

from __future__ import annotations

from pathlib import Path

from ct_vae.grid import MAX_SHEAR, Grid
from ct_vae.io.byte_stream import GZIP_MAGIC, ByteStream, Encoding
from ct_vae.io.dicom.scan import FoundSeries
from ct_vae.io.dicom.volume import check_group
from ct_vae.io.formats import path_kind
from ct_vae.io.latent.record import is_coded_name
from ct_vae.io.nifti.affine import nifti_grid
from ct_vae.io.nifti.header import parse_header
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import check_regular, reading

_NIFTI_HEADER_BYTES = 540


def header_grid(path: Path, options: ReadOptions, series: FoundSeries | None = None) -> Grid | None:
    """Return the grid of a NIfTI file or DICOM series from its headers.

    Args:
        path: Path of the volume, as for `ct_vae.io.read_volume`.
        options: Options of reading.
        series: The DICOM series, if a search has found one.

    Returns:
        The grid, or ``None`` if it is not known from headers: for archives, folders, MetaImage and
        NRRD files, and volumes that are resampled while they are read.

    Raises:
        NoInputError: If the file does not exist.
        InputError: If the header is invalid.
    """
    with reading(path):
        if series is not None:
            stack = check_group(series.group, options)
            return None if stack.fault else stack.grid
        if (
            path.is_dir()
            or path_kind(path) not in {"nifti", "latent", "unknown"}
            or is_coded_name(path)
        ):
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
    # A sheared volume is resampled to a grid that depends on its voxels.
    return grid if grid.shear <= MAX_SHEAR else None
