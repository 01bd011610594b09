"""Atomic writing of MetaImage (.mha) and NRRD files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isal import igzip, isal_zlib

from ct_vae.io.atomic.file import atomic_write
from ct_vae.io.hounsfield.rescale import int16_slabs
from ct_vae.volume import Volume


def write_metaimage(volume: Volume, path: str | Path) -> None:
    """Write a volume as compressed int16 HU into one `.mha` file, atomically.

    Raises:
        InputError: If a voxel is not finite or beyond int16.
        OutputError: If the file cannot be written in full.
    """
    deflate = isal_zlib.compressobj()
    pieces = [deflate.compress(slab) for slab in int16_slabs(volume.voxels)]
    pieces.append(deflate.flush())
    spacing, origin, direction = volume.grid.to_lps()
    # MetaImage lists the matrix by columns, ITK by rows.
    axes = [direction[row * 3 + axis] for axis in range(3) for row in range(3)]
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(sum(map(len, pieces))),
        "TransformMatrix": _numbers(axes),
        "Offset": _numbers(origin),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _numbers(spacing),
        "DimSize": _numbers(volume.grid.shape),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    }
    with atomic_write(path) as file:
        file.write("".join(f"{key} = {value}\n" for key, value in header.items()).encode())
        for piece in pieces:
            file.write(piece)


def write_nrrd(volume: Volume, path: str | Path) -> None:
    """Write a volume as gzip-compressed int16 HU into one `.nrrd` file, atomically.

    Raises:
        InputError: If a voxel is not finite or beyond int16.
        OutputError: If the file cannot be written in full.
    """
    slabs = int16_slabs(volume.voxels)
    _, origin, _ = volume.grid.to_lps()
    # RAS to LPS.
    steps = volume.grid.affine[:3, :3] * [[-1.0], [-1.0], [1.0]]
    directions = " ".join(f"({_numbers(column, ',')})" for column in steps.T.tolist())
    header = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": _numbers(volume.grid.shape),
        "space directions": directions,
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "gzip",
        "space origin": f"({_numbers(origin, ',')})",
    }
    with atomic_write(path) as file:
        lines = "".join(f"{key}: {value}\n" for key, value in header.items())
        file.write(f"NRRD0004\n{lines}\n".encode())
        with igzip.IGzipFile(filename="", mode="wb", fileobj=file, mtime=0) as layer:
            for slab in slabs:
                layer.write(slab)


def _numbers(values: Sequence[float], separator: str = " ") -> str:
    """Format numbers with the fewest digits that preserve their float64 values."""
    return separator.join(repr(value) for value in values)
