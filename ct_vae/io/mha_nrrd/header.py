"""Parsing and checks of the text headers of MetaImage and NRRD files."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import MAX_VOXELS, Triple
from ct_vae.io.byte_stream import Encoding

_META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    # MetaIO stores them in four bytes on all platforms.
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NRRD_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, "
    "int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_NRRD_TYPES = {name: kind for kind, names in _NRRD_NAMES.items() for name in names.split(", ")}
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
    "i8": "sitkInt64",
    "u8": "sitkUInt64",
    "f4": "sitkFloat32",
    "f8": "sitkFloat64",
}
_MILLIMETERS = {"mm", *(f"millimet{end}" for end in ("er", "ers", "re", "res"))}
# Values for an unknown unit.
_NO_UNIT = {"", "none", "???"}
_TRUE = {"true": True, "false": False}
_LONGEST_LINE = 10_000
_MANY = "keeps its voxels in several files"
_ONE_FILE = "convert it to one .nii.gz, .mha or .nrrd"


@dataclass(frozen=True)
class ItkHeader:
    """Location and type of the voxels.

    Attributes:
        format: ``"metaimage"`` or ``"nrrd"``.
        shape: Number of voxels along the three axes.
        dtype: Type of the stored values, in the byte order of the file.
        offset: First byte of the data in their file.
        encoding: Compression of the data.
        stored_bytes: Declared size of the compressed data, if declared.
        placed: True if the header has the directions of the axes.
        data_file: Name of a separate data file, as in the header, or ``None``.
        skip: Bytes of the decompressed data before the first voxel; -1 if the voxels are the last
            bytes of an uncompressed file.
        skip_lines: Lines to skip before that.
        notes: Values that are missing in the header and were assumed, one line each.
    """

    format: str
    shape: Triple
    dtype: np.dtype[np.generic]
    offset: int
    encoding: Encoding
    stored_bytes: int | None
    placed: bool
    data_file: str | None = None
    skip: int = 0
    skip_lines: int = 0
    notes: tuple[str, ...] = ()

    @property
    def itk_io(self) -> str:
        """Name of the ITK reader."""
        return "MetaImageIO" if self.format == "metaimage" else "NrrdImageIO"

    def itk_pixel_id(self) -> int:
        """ITK's number of the voxel type."""
        import SimpleITK

        return int(getattr(SimpleITK, _PIXEL_IDS[self.dtype.str[1:]]))


def parse_header(head: bytes) -> ItkHeader:
    """Read the header of a MetaImage (`.mha`, `.mhd`) or NRRD file (`.nrrd`, `.nhdr`).

    Args:
        head: The first bytes of the file, with the complete header.

    Raises:
        InputError: If the header is malformed, or does not describe a volume in a single file.
    """
    return parse_nrrd(head) if is_nrrd(head) else parse_metaimage(head)


def is_metaimage(head: bytes) -> bool:
    """Return True if the first bytes of a file are those of a MetaImage."""
    return head.startswith((b"ObjectType", b"NDims", b"Comment"))


def is_nrrd(head: bytes) -> bool:
    """Return True if the first bytes of a file are those of an NRRD file."""
    return head.startswith(b"NRRD000")


def parse_metaimage(head: bytes) -> ItkHeader:
    """Read the header of a `.mha` or `.mhd` file, as `parse_header` does."""
    end = re.search(rb"(?m)^ElementDataFile\s*=[^\S\r\n]*([^\r\n]*)(?:\r?\n|\Z)", head)
    if end is None:
        raise InputError("its MetaImage header has no end (no ElementDataFile)")
    fields = _fields(head[: end.end()], r"\s*=\s*", fold=False)
    data_file = _metaimage_data_file(fields["ElementDataFile"])
    shape = _shape(fields.get("NDims", ""), fields.get("DimSize", ""))
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise InputError("has several components per voxel instead of one")
    if not _flag(fields, "BinaryData", True):
        raise InputError("stores its voxels as text", "write it again with BinaryData = True")
    skip = _integer(fields.get("HeaderSize", "0"), "HeaderSize")
    if skip and data_file is None:
        raise InputError(f"has HeaderSize {skip} although its data are local")
    big = _flag(fields, "BinaryDataByteOrderMSB", _flag(fields, "ElementByteOrderMSB", False))
    dtype = _dtype(_META_TYPES, fields.get("ElementType", ""), ">" if big else "<")
    compressed = _flag(fields, "CompressedData", False)
    size = fields.get("CompressedDataSize") if compressed else None
    return ItkHeader(
        format="metaimage",
        shape=shape,
        dtype=dtype,
        offset=end.end() if data_file is None else 0,
        encoding="zlib" if compressed else "raw",
        stored_bytes=None if size is None else _integer(size, "CompressedDataSize"),
        placed=True,
        data_file=data_file,
        skip=_checked_skip(skip, "HeaderSize", compressed),
        notes=_assumed(fields),
    )


def parse_nrrd(head: bytes) -> ItkHeader:
    """Read the header of an `.nrrd` or `.nhdr` file, as `parse_header` does."""
    end = re.search(rb"\r?\n\r?\n", head)
    text = head if end is None else head[: end.start()]
    if re.search(rb"(?im)^data ?file\s*:\s*LIST", text):
        raise InputError(_MANY, _ONE_FILE)
    fields = _fields(text, r"\s*:\s*", fold=True)
    data_file = fields.get("data file", fields.get("datafile"))
    if end is None and data_file is None:
        raise InputError("its NRRD header has no end (no empty line)")
    if data_file is not None and re.search(r"%\d*d.*\s-?\d+\s+-?\d+\s+-?\d+", data_file):
        raise InputError(_MANY, _ONE_FILE)
    shape = _shape(fields.get("dimension", ""), fields.get("sizes", ""))
    _check_units(fields)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "little").lower())
    if order is None:
        raise InputError(f"its header declares the byte order {fields['endian']!r}")
    dtype = _dtype(_NRRD_TYPES, " ".join(fields.get("type", "").lower().split()), order)
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"its encoding is {encoding!r}; only raw and gzip are supported")
    skip, lines = _nrrd_skip(fields, encoding != "raw")
    return ItkHeader(
        format="nrrd",
        shape=shape,
        dtype=dtype,
        offset=end.end() if end and data_file is None else 0,
        encoding="raw" if encoding == "raw" else "gzip",
        stored_bytes=None,
        placed=fields.get("space", "").lower() in _NRRD_SPACES and "space directions" in fields,
        data_file=data_file,
        skip=skip,
        skip_lines=lines,
    )


def _metaimage_data_file(name: str) -> str | None:
    if name.lower() == "local":
        return None
    if name.split()[:1] == ["LIST"] or re.search(r"%\d*d", name):
        raise InputError(_MANY, _ONE_FILE)
    return name


def _nrrd_skip(fields: dict[str, str], compressed: bool) -> tuple[int, int]:
    """Return the numbers of bytes and lines before the voxels."""
    lines, skip = (
        _integer(fields.get(name, fields.get(name.replace(" ", ""), "0")), name)
        for name in ("line skip", "byte skip")
    )
    return _checked_skip(skip, "byte skip", compressed), _checked_skip(lines, "line skip", True)


def _checked_skip(skip: int, name: str, compressed: bool) -> int:
    if skip < (0 if compressed else -1):
        raise InputError(f"its header declares {name} {skip}, which is invalid")
    return skip


def _assumed(fields: dict[str, str]) -> tuple[str, ...]:
    notes = []
    if not {"ElementSpacing", "ElementSize"} & set(fields):
        notes.append("no voxel sizes in the header: 1 mm assumed")
    if not {"TransformMatrix", "Orientation", "Rotation"} & set(fields):
        notes.append("no directions in the header: axes assumed to run L, P, S")
    return tuple(notes)


def _fields(header: bytes, separator: str, *, fold: bool) -> dict[str, str]:
    """Parse the ``key separator value`` lines of a header; ``fold`` makes keys lower case."""
    fields: dict[str, str] = {}
    for number, line in enumerate(header.decode("latin-1").splitlines(), start=1):
        if line.startswith("#") or ":=" in line or (fold and line.startswith("NRRD000")):
            continue
        parts = re.split(separator, line, maxsplit=1)
        key = parts[0].strip().lower() if fold else parts[0].strip()
        # Such lines would overflow the parser of ITK.
        if len(parts) != 2 or len(line) > _LONGEST_LINE or not key.isprintable() or key in fields:
            # The line itself may contain the name of a patient.
            raise InputError(f"its header is damaged in line {number}")
        fields[key] = parts[1].strip()
    return fields


def _shape(dimensions: str, sizes: str) -> Triple:
    numbers = [_integer(size, "a size") for size in sizes.split()]
    if dimensions != "3" or len(numbers) != 3:
        raise InputError(f"has {dimensions or 'no'} dimensions and sizes {numbers}, not three")
    if min(numbers) < 1:
        raise InputError(f"its header declares the sizes {numbers}; each must be positive")
    if math.prod(numbers) > MAX_VOXELS:
        raise InputError(
            f"its header declares {numbers}, {math.prod(numbers)} voxels; "
            f"the limit is {MAX_VOXELS} (2^31)"
        )
    return numbers[0], numbers[1], numbers[2]


def _check_units(fields: dict[str, str]) -> None:
    for name in ("space units", "units"):
        units = re.findall(r'"([^"]*)"', fields.get(name, ""))
        if any(unit.strip().lower() not in _MILLIMETERS | _NO_UNIT for unit in units):
            raise InputError(f"its lengths are in {units}", "export it in mm")


def _dtype(names: dict[str, str], name: str, order: str) -> np.dtype[np.generic]:
    if name not in names:
        raise InputError(
            f"its voxels are of type {name!r}, not CT values",
            "convert them to 16-bit integers or 32-bit floats in HU",
        )
    return np.dtype(order + names[name])


def _flag(fields: dict[str, str], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if value.lower() not in _TRUE:
        raise InputError(f"its header declares {name} = {value}; only True and False are valid")
    return _TRUE[value.lower()]


def _integer(text: str, name: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise InputError(f"its header declares {text[:40]!r} as {name}")
    return int(text)
