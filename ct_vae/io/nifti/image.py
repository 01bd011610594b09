"""Reading and writing of NIfTI volumes: `.nii`, `.nii.gz` and pairs of `.hdr` and `.img`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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
from ct_vae.io.hounsfield.regular_grid import resample_sheared
from ct_vae.io.hounsfield.rescale import Scaling, int16_slabs
from ct_vae.io.nifti.affine import nifti_grid
from ct_vae.io.nifti.extensions import comment_extension, comments_in
from ct_vae.io.nifti.header import MAX_OFFSET, NiftiHeader, parse_header
from ct_vae.io.nifti.pair import header_path, image_path
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import check_regular, reading
from ct_vae.latent import RECORD_FORMAT
from ct_vae.volume import DECODING, DERIVED_MARK, Volume

# A qform has no shear. Smaller shears are rounding errors and shift corners by under 0.01 voxel.
_QFORM_SHEAR = 1e-5
_SCANNER = 1
# A CT has more voxels along each axis.
_MOST_CHANNELS = 4
# A record in the header has about 2000 bytes.
_LARGEST_PEEK = 2**16
_DECODING_FORMAT = "ct_vae.decoding"
_NO_EXTENSIONS = b"\0\0\0\0"


@dataclass(frozen=True)
class NiftiFile:
    """Content of a NIfTI file.

    Attributes:
        header: The header.
        extensions: The bytes between header and voxels.
        stored: The voxels, unscaled.
        note: A warning about bytes after the voxels, or ``""``.
    """

    header: NiftiHeader
    extensions: bytes
    stored: NDArray[Any]
    note: str = ""


def read_nifti(path: str | Path, options: ReadOptions | None = None) -> Volume:
    """Read a CT volume from a NIfTI-1 or NIfTI-2 file or pair, compressed or not.

    Args:
        path: The file; either file of a pair.
        options: Options of reading.

    Raises:
        NoInputError: If the file does not exist.
        InputError: If the file is damaged or cannot be read correctly.
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
        facts |= _decoding_in(file.extensions)
        if options.frame is not None:
            facts["frame"] = options.frame
        scaling = Scaling(header.slope, header.inter)
        volume = hounsfield_volume(file.stored, scaling, grid, options, facts, warnings)
        volume = resample_sheared(volume) if grid.shear > MAX_SHEAR else volume
        derived = DERIVED_MARK.encode() in header.fields["descrip"].tobytes()
        return replace(volume, derived=derived)


def write_nifti(volume: Volume, path: str | Path) -> None:
    """Write a volume as int16 HU, atomically; equal volumes give equal bytes.

    Halves round to even. The affine becomes the sform, and the qform as well unless it is sheared.

    Args:
        volume: The volume.
        path: Path that ends with ``.nii``, or with ``.nii.gz`` for compression.

    Raises:
        InputError: If a voxel is not finite or beyond int16, or the affine beyond float32.
        OutputError: If the file cannot be written in full.
    """
    slabs = int16_slabs(volume.voxels)
    header = new_header(volume.grid, volume.grid.shape, np.dtype("<i2"))
    extensions = _NO_EXTENSIONS
    if volume.derived:
        header["descrip"] = DERIVED_MARK.encode()
    if volume.derived and DECODING in volume.source:
        record = {"format": _DECODING_FORMAT, **volume.source[DECODING]}
        extensions = comment_extension(json.dumps(record).encode())
    with atomic_write(path) as file, compressed(file, path) as out:
        write_parts(out, header, extensions, slabs)


def load_nifti(path: Path, frame: int | None = None, *, single: bool = False) -> NiftiFile:
    """Read a file with checks of its length and checksum.

    Args:
        path: The file.
        frame: Time point to read.
        single: Read one volume, and raise an error for several time points without ``frame``;
            otherwise keep all dimensions.

    Raises:
        InputError: If the file is damaged or not a NIfTI file; without the name of the file.
    """
    with _opened(path) as stream:
        header = parse_header(stream.peek(540))
        # Checked before the dimensions, of which a latent has more than a volume.
        if single and RECORD_FORMAT.encode() in stream.peek(min(header.offset, _LARGEST_PEEK)):
            raise InputError("is a latent of this package, not a CT volume", "decode it instead")
        if not header.pair:
            return _whole(stream, header, frame, single)
        stream.drain(MAX_OFFSET)
    image = image_path(path)
    with naming(image), _opened(image) as stream:
        return _whole(stream, header, frame, single)


def _decoding_in(extensions: bytes) -> dict[str, dict[str, str]]:
    """Return the item of a decoded volume's source, or nothing if the file has no such record."""
    for text in comments_in(extensions):
        with suppress(ValueError, RecursionError):
            record = json.loads(text)
            if isinstance(record, dict) and record.pop("format", None) == _DECODING_FORMAT:
                return {DECODING: {str(name): str(value) for name, value in record.items()}}
    return {}


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
    # The bytes before the voxels of an .img file are not extensions.
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
    """Return the bytes between the header of a file and its voxels, without reading the voxels.

    Raises:
        InputError: If the file is damaged or not a NIfTI file; without the name of the file.
    """
    with _opened(path) as stream:
        header = parse_header(stream.peek(540))
        stream.skip(header.size)
        return b"" if header.pair else stream.read(header.offset - header.size)


def new_header(grid: Grid, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Nifti1Header:
    """Return a header without scaling, in mm, for an array with the grid in its first three axes.

    Raises:
        InputError: If the shape or the affine is too large for NIfTI-1.
    """
    header = Nifti1Header(endianness="<")
    try:
        header.set_data_shape(shape)
    except HeaderDataError as error:
        raise InputError(f"the shape {shape} does not fit into NIfTI: {error}") from error
    header.set_data_dtype(dtype)
    with np.errstate(over="ignore"):
        stored = grid.affine.astype(np.float32)
    # Raises an error for numbers beyond float32, which have become infinite.
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
    """Write header, extensions (after their four-byte flag) and voxels to an open file."""
    header["vox_offset"] = len(header.binaryblock) + len(extensions)
    out.write(header.binaryblock)
    out.write(extensions)
    for piece in data:
        out.write(piece)


@contextmanager
def compressed(file: BinaryIO, path: str | Path) -> Iterator[BinaryIO]:
    """Return the file, or a gzip layer without time and name if the path ends with ``.gz``."""
    if not str(path).lower().endswith(".gz"):
        yield file
        return
    with igzip.IGzipFile(filename="", mode="wb", fileobj=file, mtime=0) as layer:
        yield cast("BinaryIO", layer)


def _sides(header: NiftiHeader) -> Triple:
    x, y, z = header.shape[:3]
    return x, y, z


def _choose_frame(header: NiftiHeader, frame: int | None) -> tuple[Triple, int, int]:
    """Return the shape of one volume, the number of time points, and the index of that to read."""
    shape = header.shape
    frames = shape[3] if len(shape) > 3 else 1
    if math.prod(shape[4:]) > 1:
        raise InputError(f"has the shape {shape}; a CT volume has three dimensions")
    if frames > 1 and shape[0] <= _MOST_CHANNELS < min(shape[1:4]):
        raise InputError(
            f"has the shape {shape}: its first axis seems to be {shape[0]} channel(s), as in an "
            "array with channels first",
            "save a single channel, such as array[0], with three axes",
        )
    if frames > 1 and frame is None:
        raise InputError(
            f"has the shape {shape} with {frames} time points instead of one",
            f"--frame K selects one, with K from 0 to {frames - 1}",
        )
    if frame is not None and frame >= frames:
        raise InputError(f"has {frames} time points, but frame {frame} was requested (from 0)")
    return _sides(header), frames, frame or 0
