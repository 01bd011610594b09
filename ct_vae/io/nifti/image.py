"""Volumes in NIfTI files, `.nii`, `.nii.gz` and pairs of `.hdr` and `.img`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from isal import igzip
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import MAX_SHEAR, Grid, Triple
from ct_vae.io.atomic.file import atomic_write
from ct_vae.io.byte_stream import GZIP_MAGIC, ByteStream
from ct_vae.io.data_file import naming
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.regular_grid import rectify_shear
from ct_vae.io.hounsfield.rescale import Scaling, int16_slabs
from ct_vae.io.nifti.affine import nifti_grid
from ct_vae.io.nifti.header import MAX_OFFSET, NiftiHeader, parse_header
from ct_vae.io.nifti.pair import header_path, image_path
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import check_regular, reading
from ct_vae.latent import RECORD_FORMAT
from ct_vae.volume import DERIVED_MARK, Volume

# A qform holds no shear; this much is rounding, and moves no corner by a hundredth of a voxel.
_QFORM_SHEAR = 1e-5
_SCANNER = 1
# No CT is so narrow.
_MOST_CHANNELS = 4
# A record in a header takes about two thousand bytes.
_LARGEST_PEEK = 2**16
_NO_EXTENSIONS = b"\0\0\0\0"


@dataclass(frozen=True)
class NiftiFile:
    """A file as stored.

    Attributes:
        header: The header.
        extensions: What lies between header and voxels.
        stored: The voxels, unscaled.
        note: A remark about bytes after the voxels, or ``""``.
    """

    header: NiftiHeader
    extensions: bytes
    stored: NDArray[Any]
    note: str = ""


def read_nifti(path: str | Path, options: ReadOptions | None = None) -> Volume:
    """Read a CT volume from a NIfTI-1 or NIfTI-2 file or pair, compressed or not, by its content.

    Args:
        path: The file; of a pair, either of the two.
        options: Consents and corrections.

    Raises:
        NoInputError: If there is no such file.
        InputError: If it is damaged, or refused because its result would be wrong.
    """
    options = options or ReadOptions()
    with reading(path):
        file = load_nifti(header_path(Path(path)), options.frame, single=True)
        header = file.header
        grid, facts, warnings = nifti_grid(
            header.fields, _sides(header), options.assume_ras, options.resample_irregular
        )
        warnings += [file.note] if file.note else []
        facts = {"format": "nifti", "slope": header.slope, "inter": header.inter, **facts}
        if options.frame is not None:
            facts["frame"] = options.frame
        scaling = Scaling(header.slope, header.inter)
        volume = hounsfield_volume(file.stored, scaling, grid, options, facts, warnings)
        return rectify_shear(volume) if grid.shear > MAX_SHEAR else volume


def write_nifti(volume: Volume, path: str | Path) -> None:
    """Write a volume as int16 HU, atomically; the same volume always gives the same bytes.

    Halves round to even. The affine becomes the sform, and the qform too unless it is sheared.

    Args:
        volume: What to write.
        path: Ends with ``.nii``, or with ``.nii.gz`` for compression.

    Raises:
        InputError: If a voxel is not finite or beyond int16, or the affine beyond float32.
        OutputError: If the file cannot be written in full.
    """
    slabs = int16_slabs(volume.voxels)
    header = new_header(volume.grid, volume.grid.shape, np.dtype("<i2"))
    if volume.derived:
        header["descrip"] = DERIVED_MARK.encode()
    with atomic_write(path) as file, compressed(file, path) as out:
        write_parts(out, header, _NO_EXTENSIONS, slabs)


def load_nifti(path: Path, frame: int | None = None, *, single: bool = False) -> NiftiFile:
    """Read a whole file and check every byte of it against header and checksum.

    Args:
        path: The file.
        frame: Which time point to keep.
        single: Keep one volume, refusing what has several if ``frame`` is not given; otherwise
            all declared dimensions are kept.

    Raises:
        InputError: If the file is damaged or not a NIfTI file. The file's name is not in it.
    """
    with _opened(path) as stream:
        header = parse_header(stream.peek(540))
        # Before its dimensions are: a latent has more of them than a volume.
        if single and RECORD_FORMAT.encode() in stream.peek(min(header.offset, _LARGEST_PEEK)):
            raise InputError("is a latent of this package, not a CT volume", "decode it instead")
        if not header.pair:
            return _whole(stream, header, frame, single)
        stream.drain(MAX_OFFSET)
    beside = image_path(path)
    with naming(beside), _opened(beside) as stream:
        return _whole(stream, header, frame, single)


def _whole(stream: ByteStream, header: NiftiHeader, frame: int | None, single: bool) -> NiftiFile:
    shape, frames, wanted = _choose_frame(header, frame) if single else (header.shape, 1, 0)
    stream.check_possible(header.offset + math.prod(header.shape) * header.dtype.itemsize)
    start = 0 if header.pair else header.size
    stream.skip(start)
    extensions = stream.read(header.offset - start)
    count = math.prod(shape)
    stream.skip(wanted * count * header.dtype.itemsize)
    flat = stream.array(count, header.dtype)
    stream.skip((frames - wanted - 1) * count * header.dtype.itemsize)
    note = stream.finish(header.shape, header.dtype.itemsize)
    # What lies before the voxels of an .img file are no extensions.
    extensions = b"" if header.pair else extensions
    return NiftiFile(header, extensions, flat.reshape(shape, order="F"), note)


@contextmanager
def _opened(path: Path) -> Iterator[ByteStream]:
    size = check_regular(path)
    with path.open("rb") as raw:
        gz = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        yield ByteStream(raw, size, "gzip" if gz else "raw")


def load_extensions(path: Path) -> bytes:
    """What lies between the header of a file and its voxels, without reading these.

    Raises:
        InputError: If the file is damaged or not a NIfTI file. The file's name is not in it.
    """
    with _opened(path) as stream:
        header = parse_header(stream.peek(540))
        stream.skip(header.size)
        return b"" if header.pair else stream.read(header.offset - header.size)


def new_header(grid: Grid, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Nifti1Header:
    """A header for an array whose first three axes are the grid's; unscaled, in mm.

    Raises:
        InputError: If a side or a number of the affine is too large for NIfTI-1.
    """
    header = Nifti1Header(endianness="<")
    try:
        header.set_data_shape(shape)
    except HeaderDataError as error:
        raise InputError(f"the shape {shape} does not fit into NIfTI: {error}") from error
    header.set_data_dtype(dtype)
    with np.errstate(over="ignore"):
        stored = grid.affine.astype(np.float32)
    # A number beyond float32 has become infinite, which no grid has.
    Grid(grid.shape, stored.astype(np.float64))
    orthogonal = grid.shear <= _QFORM_SHEAR
    header.set_qform(grid.affine, _SCANNER if orthogonal else 0, strip_shears=True)
    header.set_sform(stored, _SCANNER)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    return header


def write_parts(
    out: BinaryIO, header: Nifti1Header, extensions: bytes, data: Iterable[bytes]
) -> None:
    """Write header, extensions (with their four-byte announcement) and voxels to an open file."""
    header["vox_offset"] = len(header.binaryblock) + len(extensions)
    out.write(header.binaryblock)
    out.write(extensions)
    for piece in data:
        out.write(piece)


@contextmanager
def compressed(file: BinaryIO, path: str | Path) -> Iterator[BinaryIO]:
    """The file itself, or a gzip layer over it if the name asks for one, without time or name."""
    if not str(path).lower().endswith(".gz"):
        yield file
        return
    with igzip.IGzipFile(filename="", mode="wb", fileobj=file, mtime=0) as layer:
        yield cast("BinaryIO", layer)


def _sides(header: NiftiHeader) -> Triple:
    x, y, z = header.shape[:3]
    return x, y, z


def _choose_frame(header: NiftiHeader, frame: int | None) -> tuple[Triple, int, int]:
    """Sides of one volume, how many there are, and which one is wanted."""
    shape = header.shape
    frames = shape[3] if len(shape) > 3 else 1
    if math.prod(shape[4:]) > 1:
        raise InputError(f"has the shape {shape}; a CT volume has three dimensions")
    if frames > 1 and shape[0] <= _MOST_CHANNELS < min(shape[1:4]):
        raise InputError(
            f"has the shape {shape}: its first axis is one of {shape[0]} channel(s), as arrays "
            "with channels first have when they are saved as they are",
            "save one channel alone, such as array[0], with three axes",
        )
    if frames > 1 and frame is None:
        raise InputError(
            f"has the shape {shape}, {frames} time points; one volume is wanted",
            f"--frame K takes one, with K from 0 to {frames - 1}",
        )
    if frame is not None and frame >= frames:
        raise InputError(f"has {frames} time points, and frame {frame} was asked for (from 0)")
    return _sides(header), frames, frame or 0
