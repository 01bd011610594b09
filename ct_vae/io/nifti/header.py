"""Parsing and checks of NIfTI headers before memory is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from ct_vae.errors import InputError
from ct_vae.grid import MAX_VOXELS
from ct_vae.io.reading import refuse_foreign

# Largest offset of the voxels, after the header and its extensions.
MAX_OFFSET = 1 << 26

_CLASSES = {348: Nifti1Header, 540: Nifti2Header}
_MAGIC = {348: b"n+1\x00", 540: b"n+2\x00\r\n\x1a\n"}
_PAIR_MAGIC = {348: b"ni1\x00", 540: b"ni2\x00\r\n\x1a\n"}
_INTEGERS = {256: "i1", 2: "u1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8"}
_DTYPES = _INTEGERS | {16: "f4", 64: "f8"}
_REFUSED = {
    1: "one bit per voxel",
    32: "complex numbers",
    128: "RGB colors",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
    2304: "RGBA colors",
}
_ORDERS: dict[Literal["little", "big"], Literal["<", ">"]] = {"little": "<", "big": ">"}
_UNITS = {1: ("meters", 1000), 3: ("micrometers", 0.001)}


@dataclass(frozen=True)
class NiftiHeader:
    """Checked values of a NIfTI header.

    Attributes:
        fields: Header of nibabel, for the geometry.
        size: Size of the header in bytes.
        shape: Declared shape with at least three dimensions.
        dtype: Type of the stored values, in the byte order of the file.
        offset: First byte of the voxels in their file.
        slope: Scale from stored values; 1 if the header has none.
        inter: Intercept of the scaled values.
        pair: True if the voxels are in a separate `.img` file.
    """

    fields: Any
    size: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    inter: float
    pair: bool = False


def is_nifti(head: bytes) -> bool:
    """Return True if decompressed bytes look like a NIfTI header, valid or not."""
    return any(int.from_bytes(head[:4], order) in _CLASSES for order in _ORDERS)


def parse_header(head: bytes) -> NiftiHeader:
    """Read and check a NIfTI-1 or NIfTI-2 header of either byte order.

    Args:
        head: The first 540 bytes of the decompressed file, or all bytes of a shorter one.

    Raises:
        InputError: If the bytes are not a NIfTI header, or do not describe a volume.
    """
    size, order, pair = _kind(head)
    fields = _CLASSES[size](head[:size], order, check=False)
    shape = _shape(fields)
    slope, inter = _scaling(fields)
    dtype = _dtype(fields).newbyteorder(order)
    _check_units(int(fields["xyzt_units"]))
    offset = _offset(fields, 0 if pair else size + 4)
    return NiftiHeader(fields, size, shape, dtype, offset, slope, inter, pair)


def _kind(head: bytes) -> tuple[int, Literal["<", ">"], bool]:
    sizes = {int.from_bytes(head[:4], order): sign for order, sign in _ORDERS.items()}
    size = next((size for size in sizes if size in _CLASSES), 0)
    if not size:
        refuse_foreign(head)
        raise InputError(f"is not a NIfTI file: it begins with {head[:8]!r}")
    if len(head) < size:
        raise InputError(f"is truncated: its header has {len(head)} of {size} bytes")
    magic = head[344:348] if size == 348 else head[4:12]
    if magic == _PAIR_MAGIC[size]:
        return size, sizes[size], True
    if magic != _MAGIC[size]:
        raise InputError(
            f"is not a NIfTI file: its magic is {magic!r}",
            "if it is an ANALYZE file, convert it to .nii.gz",
        )
    return size, sizes[size], False


def _shape(fields: Any) -> tuple[int, ...]:
    dim = [int(n) for n in fields["dim"]]
    if not 1 <= dim[0] <= 7:
        raise InputError(f"its header declares {dim[0]} dimensions, NIfTI has 1 to 7")
    shape = tuple(dim[1 : dim[0] + 1])
    if min(shape) < 1:
        raise InputError(f"its header declares the shape {shape}; all sizes must be positive")
    if len(shape) < 3:
        raise InputError(f"is not a volume: its shape {shape} has {len(shape)} dimensions")
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(
            f"its header declares the shape {shape}, {math.prod(shape)} voxels; "
            f"the limit is {MAX_VOXELS} (2^31)",
            "crop or downsample the volume, or check the header",
        )
    return shape


def _dtype(fields: Any) -> np.dtype[np.generic]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code in _REFUSED:
        raise InputError(
            f"its voxels are {_REFUSED[code]} (NIfTI datatype {code}), not CT values",
            "convert them to 16-bit integers or 32-bit floats in HU",
        )
    if code not in _DTYPES:
        raise InputError(f"its header declares the unknown datatype {code}")
    dtype = np.dtype(_DTYPES[code])
    if bits != dtype.itemsize * 8:
        raise InputError(f"its header declares {bits} bits per voxel, but {dtype.name} voxels")
    return dtype


def _offset(fields: Any, least: int) -> int:
    offset = float(fields["vox_offset"])
    # NaN fails the comparison as well.
    if not (least <= offset <= MAX_OFFSET and offset == int(offset)):
        raise InputError(
            f"its header declares the voxels at byte {offset:g}; "
            f"only {least} to {MAX_OFFSET} is valid"
        )
    return int(offset)


def _scaling(fields: Any) -> tuple[float, float]:
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    # In the standard, a slope of 0 means no scaling; many writers store NaN instead.
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise InputError(f"its header scales by slope {slope} and intercept {inter}")
    return slope, inter


def _check_units(xyzt_units: int) -> None:
    code = xyzt_units & 0x07
    if code in _UNITS:
        name, factor = _UNITS[code]
        raise InputError(
            f"its header declares lengths in {name}",
            f"multiply its affine and pixdim by {factor:g} and set the unit to mm; "
            "if they are in mm already, set only the unit (xyzt_units = 2)",
        )
    if code not in (0, 2):
        raise InputError(f"its header declares the unknown unit of length {code}")
