"""Reading of volumes from MetaImage (.mha, .mhd) and NRRD files (.nrrd, .nhdr).

SimpleITK reads the geometry. The voxels are read here, since ITK does not detect damage of a
compressed MetaImage.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

from ct_vae.errors import InputError
from ct_vae.grid import MAX_SHEAR, Grid
from ct_vae.io.byte_stream import ByteStream
from ct_vae.io.data_file import data_file_path, naming
from ct_vae.io.hounsfield.build import hounsfield_volume
from ct_vae.io.hounsfield.regular_grid import resample_sheared
from ct_vae.io.hounsfield.rescale import Scaling
from ct_vae.io.mha_nrrd.header import ItkHeader, parse_header
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import check_regular, reading
from ct_vae.io.voxel_size import check_voxel_size
from ct_vae.volume import Volume

_LARGEST_HEADER = 1 << 16


def read_itk(path: str | Path, options: ReadOptions | None = None) -> Volume:
    """Read a CT volume from a MetaImage or NRRD file; the content decides on the format.

    The voxels are in the same file or in a data file named in the header.

    Raises:
        NoInputError: If the file does not exist.
        InputError: If the file is damaged or cannot be read correctly.
    """
    options = options or ReadOptions()
    with reading(path):
        header, stored, note = _load(Path(path))
        if options.frame:
            raise InputError(f"has one time point, but frame {options.frame} was requested")
        grid = _grid(Path(path), header, options)
        facts = {"format": header.format}
        warnings = [*header.notes, *([note] if note else [])]
        if not header.placed:
            warnings.append("no orientation in the header: axes assumed")
        volume = hounsfield_volume(stored, Scaling(), grid, options, facts, warnings)
        return resample_sheared(volume) if grid.shear > MAX_SHEAR else volume


def load_header(path: Path) -> tuple[ItkHeader, Path | None]:
    """Read the header of a file; return it with the path of the data file, if separate.

    Raises:
        InputError: If the header is malformed, or its data file is missing or in another folder.
    """
    check_regular(path)
    with path.open("rb") as file:
        header = parse_header(file.read(_LARGEST_HEADER))
    return header, data_file_path(path, header.data_file) if header.data_file is not None else None


def _load(path: Path) -> tuple[ItkHeader, Any, str]:
    header, data_file = load_header(path)
    with naming(data_file):
        size = check_regular(data_file or path)
        with (data_file or path).open("rb") as file:
            file.seek(header.offset)
            _skip_lines(file, header.skip_lines)
            stored_bytes = size - file.tell()
            stream = ByteStream(file, stored_bytes, header.encoding)
            voxels, note = _voxels(stream, stored_bytes, header)
    return header, voxels, note


def _voxels(stream: ByteStream, stored_bytes: int, header: ItkHeader) -> tuple[Any, str]:
    declared = stored_bytes if header.stored_bytes is None else header.stored_bytes
    if declared > stored_bytes:
        raise InputError(
            f"is truncated or damaged: its header declares {header.stored_bytes} bytes of "
            f"compressed data, the file has {stored_bytes}",
            "copy or download it again",
        )
    count = math.prod(header.shape)
    skip = header.skip if header.skip >= 0 else stored_bytes - count * header.dtype.itemsize
    stream.check_possible(max(skip, 0) + count * header.dtype.itemsize)
    stream.skip(max(skip, 0))
    flat = stream.array(count, header.dtype)
    note = stream.finish(header.shape, header.dtype.itemsize)
    if note and header.data_file is not None:
        raise InputError(
            f"has more than the {count * header.dtype.itemsize} bytes of its voxels, so that their "
            "start is unknown",
            "declare the start in the header (HeaderSize, byte skip), or truncate the file",
        )
    if header.stored_bytes is not None and stored_bytes - stream.trailing != declared:
        raise InputError(
            f"is damaged: its header declares {declared} bytes of compressed data, but they end "
            f"after {stored_bytes - stream.trailing}",
            "copy or download it again",
        )
    return flat.reshape(header.shape, order="F"), note


def _skip_lines(file: BinaryIO, count: int) -> None:
    for _ in range(count):
        if not file.readline(_LARGEST_HEADER).endswith(b"\n"):
            raise InputError(f"lacks the {count} lines before its voxels that its header declares")


def _grid(path: Path, header: ItkHeader, options: ReadOptions) -> Grid:
    if not header.placed and not options.assume_ras:
        raise InputError(
            "its header has no orientation", "--assume-ras assumes that the axes point to R, A, S"
        )
    info = _information(path, header.itk_io)
    size, kind = tuple(info.GetSize()), info.GetPixelIDValue()
    if size != header.shape or info.GetNumberOfComponents() != 1 or kind != header.itk_pixel_id():
        raise InputError(
            f"is read by ITK as {size} of type {kind}, not as {header.shape} {header.dtype.name}"
        )
    direction = info.GetDirection()
    grid = Grid.from_lps(size, info.GetSpacing(), info.GetOrigin(), direction)
    check_voxel_size(grid)
    if grid.shear > MAX_SHEAR and not options.resample_irregular:
        raise InputError(
            f"its axes are sheared: two have a cosine of {grid.shear:.4f}, the limit is "
            f"{MAX_SHEAR}",
            "if the gantry was tilted, --resample-irregular resamples it to an orthogonal grid",
        )
    return grid if header.placed else Grid(grid.shape, _unsigned(grid))


def _unsigned(grid: Grid) -> Any:
    x, y, z = grid.spacing_mm
    return [[x, 0, 0, 0], [0, y, 0, 0], [0, 0, z, 0], [0, 0, 0, 1]]


def _information(path: Path, itk_io: str) -> Any:
    import SimpleITK

    loud = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO(itk_io)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise InputError(f"cannot be read by ITK: {str(error).strip().splitlines()[-1]}") from error
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(loud)
    return reader
