"""What the text header of a MetaImage or NRRD file declares, checked before it is believed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import Triple
from ct_vae.io.byte_stream import GZIP_MAGIC, Encoding
from ct_vae.io.nifti.header import MAX_VOXELS

_META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}
_NRRD_SPACES = {"left-posterior-superior", "lps", "right-anterior-superior", "ras"} | {
    "left-anterior-superior",
    "las",
}
_PIXEL_IDS = {
    "i1": "sitkInt8",
    "u1": "sitkUInt8",
    "i2": "sitkInt16",
    "u2": "sitkUInt16",
    "i4": "sitkInt32",
    "u4": "sitkUInt32",
    "f4": "sitkFloat32",
    "f8": "sitkFloat64",
}
_TRUE = {"true": True, "false": False}
_LONGEST_LINE = 10_000


@dataclass(frozen=True)
class ItkHeader:
    """Where the voxels are in the file and what they are.

    Attributes:
        format: ``"metaimage"`` or ``"nrrd"``.
        shape: The three sides.
        dtype: Of the stored values, in the file's byte order.
        offset: First byte of the data.
        encoding: How the data are compressed.
        stored_bytes: Declared size of the compressed data, if declared.
        placed: Whether the header says how the axes run.
    """

    format: str
    shape: Triple
    dtype: np.dtype[np.generic]
    offset: int
    encoding: Encoding
    stored_bytes: int | None
    placed: bool

    @property
    def itk_io(self) -> str:
        """ITK's name of the reader."""
        return "MetaImageIO" if self.format == "metaimage" else "NrrdImageIO"

    def itk_pixel_id(self) -> int:
        """ITK's number of the voxel type."""
        import SimpleITK

        return int(getattr(SimpleITK, _PIXEL_IDS[self.dtype.str[1:]]))


def parse_metaimage(head: bytes) -> ItkHeader:
    """Read the header of a `.mha` file.

    Args:
        head: The first bytes of the file, with the whole header.

    Raises:
        InputError: If it is malformed, or describes no volume stored in the same file.
    """
    end = re.search(rb"(?m)^ElementDataFile\s*=\s*([^\r\n]*)\r?\n", head)
    if end is None:
        raise InputError("its MetaImage header has no end (no ElementDataFile)")
    fields = _fields(head[: end.end()], r"\s*=\s*", fold=False)
    if fields["ElementDataFile"] not in ("LOCAL", "Local", "local"):
        raise InputError(
            "keeps its voxels in another file (.mhd)", "convert it to one .mha, .nrrd or .nii.gz"
        )
    shape = _shape(fields.get("NDims", ""), fields.get("DimSize", ""))
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise InputError("has several components per voxel, CT has one")
    if not _flag(fields, "BinaryData", True):
        raise InputError("stores its voxels as text", "write it again with BinaryData = True")
    if fields.get("HeaderSize", "0") != "0":
        raise InputError(f"has HeaderSize {fields['HeaderSize']} although its data are local")
    big = _flag(fields, "BinaryDataByteOrderMSB", _flag(fields, "ElementByteOrderMSB", False))
    dtype = _dtype(_META_TYPES, fields.get("ElementType", ""), ">" if big else "<")
    compressed = _flag(fields, "CompressedData", False)
    size = fields.get("CompressedDataSize") if compressed else None
    # MetaIO takes either kind of deflate header.
    packed: Encoding = "gzip" if head[end.end() :].startswith(GZIP_MAGIC) else "zlib"
    return ItkHeader(
        format="metaimage",
        shape=shape,
        dtype=dtype,
        offset=end.end(),
        encoding=packed if compressed else "raw",
        stored_bytes=None if size is None else _integer(size, "CompressedDataSize"),
        placed=True,
    )


def parse_nrrd(head: bytes) -> ItkHeader:
    """Read the header of an `.nrrd` file.

    Args:
        head: The first bytes of the file, with the whole header.

    Raises:
        InputError: If it is malformed, or describes no volume stored in the same file.
    """
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None:
        raise InputError("its NRRD header has no end (no empty line)")
    fields = _fields(head[: end.start()], r"\s*:\s*", fold=True)
    if {"data file", "datafile"} & set(fields):
        raise InputError(
            "keeps its voxels in another file (.nhdr)", "convert it to one .nrrd or .nii.gz"
        )
    shape = _shape(fields.get("dimension", ""), fields.get("sizes", ""))
    _check_nrrd_layout(fields)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "little").lower())
    if order is None:
        raise InputError(f"its header declares the byte order {fields['endian']!r}")
    dtype = _dtype(_NRRD_TYPES, fields.get("type", "").lower(), order)
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"its encoding is {encoding!r}; only raw and gzip are read")
    return ItkHeader(
        format="nrrd",
        shape=shape,
        dtype=dtype,
        offset=end.end(),
        encoding="raw" if encoding == "raw" else "gzip",
        stored_bytes=None,
        placed=fields.get("space", "").lower() in _NRRD_SPACES and "space directions" in fields,
    )


def _fields(header: bytes, separator: str, *, fold: bool) -> dict[str, str]:
    """The ``key separator value`` lines of a header; ``fold`` makes keys lower case."""
    fields: dict[str, str] = {}
    for number, line in enumerate(header.decode("latin-1").splitlines(), start=1):
        if line.startswith("#") or ":=" in line or (fold and line.startswith("NRRD000")):
            continue
        parts = re.split(separator, line, maxsplit=1)
        key = parts[0].strip().lower() if fold else parts[0].strip()
        # ITK's own parser is not given what would overrun it.
        if len(parts) != 2 or len(line) > _LONGEST_LINE or not key.isprintable() or key in fields:
            # What the line says may be a patient's name.
            raise InputError(f"its header is damaged in line {number}")
        fields[key] = parts[1].strip()
    return fields


def _shape(dimensions: str, sizes: str) -> Triple:
    numbers = [_integer(size, "a side") for size in sizes.split()]
    if dimensions != "3" or len(numbers) != 3:
        raise InputError(f"has {dimensions or 'no'} dimensions and sides {numbers}, not three")
    if min(numbers) < 1:
        raise InputError(f"its header declares the sides {numbers}; each must be positive")
    if math.prod(numbers) > MAX_VOXELS:
        raise InputError(
            f"its header declares {numbers}, {math.prod(numbers)} voxels; "
            f"the limit is {MAX_VOXELS} (2^31)"
        )
    return numbers[0], numbers[1], numbers[2]


def _check_nrrd_layout(fields: dict[str, str]) -> None:
    for skip in ("line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(skip, "0") != "0":
            raise InputError(f"its header asks for {skip} {fields[skip]}, which is not supported")
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if any(unit not in ("mm", "millimeter", "") for unit in units):
        raise InputError(f"its lengths are in {units}", "export it in mm")


def _dtype(names: dict[str, str], name: str, order: str) -> np.dtype[np.generic]:
    if name not in names:
        raise InputError(
            f"its voxels are of type {name!r}, not CT numbers",
            "convert them to 16-bit integers or 32-bit floats in HU",
        )
    return np.dtype(order + names[name])


def _flag(fields: dict[str, str], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if value.lower() not in _TRUE:
        raise InputError(f"its header says {name} = {value}; only True and False are possible")
    return _TRUE[value.lower()]


def _integer(text: str, name: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise InputError(f"its header declares {text[:40]!r} as {name}")
    return int(text)
