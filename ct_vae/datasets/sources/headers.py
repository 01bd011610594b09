"""Where the voxels of a case lie, before they are read or made."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from ct_vae.datasets.sources.case import FileCase, PhantomCase, TrainingCase
from ct_vae.grid import Grid, Triple
from ct_vae.io.archive import is_archive
from ct_vae.io.byte_stream import GZIP_MAGIC, ByteStream, Encoding
from ct_vae.io.dicom.file import is_dicom
from ct_vae.io.dicom.reader import split_series_path
from ct_vae.io.dicom.volume import check_group
from ct_vae.io.mha_nrrd.reader import is_metaimage, is_nrrd
from ct_vae.io.nifti.affine import MAX_SHEAR, nifti_grid
from ct_vae.io.nifti.header import parse_header
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import check_regular, reading
from ct_vae.phantoms.abdomen import abdomen
from ct_vae.phantoms.head import head
from ct_vae.phantoms.thorax import thorax

_NIFTI_HEADER_BYTES = 540
_SCENES = {"thorax": thorax, "abdomen": abdomen, "head": head}


def header_grid(case: TrainingCase) -> Grid | None:
    """The grid of a NIfTI file or a DICOM series; ``None`` for what has to be read to know it.

    That of a phantom has its sides and spacing, and lies at the origin.

    Raises:
        NoInputError: If the file is not there.
        InputError: If its header alone is reason to refuse it.
    """
    if isinstance(case, PhantomCase):
        return Grid(_phantom_shape(case), np.diag([*case.spacing_mm, 1.0]))
    if not isinstance(case, FileCase):
        return None
    options = case.options
    if case.series is not None:
        with reading(case.path):
            grid = check_group(case.series.group, options).grid
        return None if options.resample_irregular else grid
    if case.path.is_dir() or split_series_path(case.path)[1]:
        return None
    with reading(case.path):
        return _file_grid(case.path, options)


def _file_grid(path: Path, options: ReadOptions) -> Grid | None:
    size = check_regular(path)
    with path.open("rb") as raw:
        head = raw.read(512)
        if is_dicom(head) or is_metaimage(head) or is_nrrd(head) or is_archive(path):
            return None
        raw.seek(0)
        encoding: Encoding = "gzip" if head[:2] == GZIP_MAGIC else "raw"
        stream = ByteStream(raw, size, encoding)
        header = parse_header(stream.peek(_NIFTI_HEADER_BYTES))
    x, y, z = header.shape[:3]
    grid, _, _ = nifti_grid(
        header.fields, (x, y, z), options.assume_ras, options.resample_irregular
    )
    # A sheared volume is resampled onto a grid that follows from its voxels.
    return grid if grid.shear <= MAX_SHEAR else None


def _phantom_shape(case: PhantomCase) -> Triple:
    size_mm = _phantom_size_mm(case.anatomy)
    x, y, z = (max(1, round(mm / s)) for mm, s in zip(size_mm, case.spacing_mm, strict=True))
    return x, y, z


@cache
def _phantom_size_mm(anatomy: str) -> tuple[float, float, float]:
    """Field of view of an anatomy, which no seed changes."""
    return _SCENES[anatomy](np.random.default_rng(0)).size_mm
