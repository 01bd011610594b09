"""Conversion of stored values to HU and back, in int16 where possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.volume import AIR_HU

Hounsfield = NDArray[np.int16] | NDArray[np.float32]

_CHUNK_VOXELS = 1 << 20
_INT16 = np.iinfo(np.int16)
_LARGEST_EXACT = 1 << 53
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Scaling:
    """Linear map from stored values to HU: ``slope * stored + inter``."""

    slope: float = 1.0
    inter: float = 0.0

    def apply(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scaled values in float64."""
        values: NDArray[np.float64] = stored.astype(np.float64)
        values *= self.slope
        values += self.inter
        return values


def to_hounsfield(
    stored: NDArray[Any], scaling: Scaling, nan: Literal["refuse", "air"] = "refuse"
) -> tuple[Hounsfield, int]:
    """Scale stored values to HU: int16 if all results are integers in its range, else float32.

    Args:
        stored: Integers or floats of either byte order; their memory may be reused for the result.
        scaling: Map to HU, computed in float64.
        nan: Refuse values that are not finite, or replace them by air.

    Returns:
        The values, and the number of values that were not finite and became air.

    Raises:
        InputError: If values are not finite and ``nan`` is ``"refuse"``, or if they are 64-bit
            integers beyond what float64 holds exactly.
    """
    stored = _native(stored)
    flat = stored.ravel(order="K")
    _check_exact(flat)
    if _integers_fit(flat, scaling):
        return _convert(stored, scaling, np.dtype(np.int16)), 0
    broken, integral = _survey(flat, scaling)
    if broken and nan == "refuse":
        raise InputError(
            f"{broken} of its {flat.size} voxels are not finite",
            "--nan air replaces them by air",
        )
    return _convert(stored, scaling, np.dtype(np.int16 if integral else np.float32)), broken


def int16_slabs(voxels: Hounsfield) -> Iterator[bytes]:
    """Convert voxels to pieces of little-endian int16, first axis fastest; halves round to even.

    Raises:
        InputError: If a voxel is not finite or beyond int16, before the first piece is returned.
    """
    low, high = float(voxels.min()), float(voxels.max())
    # NaN fails the comparison as well.
    if not (_INT16.min <= low and high <= _INT16.max):
        raise InputError(
            f"voxels from {low:g} to {high:g} HU cannot be stored as int16",
            f"clip them to {_INT16.min} .. {_INT16.max}, and replace values that are not finite",
        )
    return _slabs(voxels)


def _slabs(voxels: Hounsfield) -> Iterator[bytes]:
    step = max(1, _CHUNK_VOXELS // max(1, voxels[:, :, 0].size))
    for start in range(0, voxels.shape[2], step):
        slab = voxels[:, :, start : start + step]
        if slab.dtype != np.int16:
            slab = np.rint(slab)
        yield slab.astype("<i2", copy=False).tobytes(order="F")


def _native(stored: NDArray[Any]) -> NDArray[Any]:
    if not (stored.flags.f_contiguous or stored.flags.c_contiguous):
        stored = stored.copy(order="F")
    if stored.dtype.isnative:
        return stored
    return stored.byteswap(inplace=stored.flags.writeable).view(stored.dtype.newbyteorder("="))


def _check_exact(flat: NDArray[Any]) -> None:
    """Raise an error for integers that float64 cannot represent."""
    if flat.dtype.kind not in "iu" or flat.dtype.itemsize < 8:
        return
    low, high = int(flat.min()), int(flat.max())
    if low < -_LARGEST_EXACT or high > _LARGEST_EXACT:
        raise InputError(
            f"its voxels are 64-bit integers from {low} to {high}, not CT values",
            "convert them to 16-bit integers in HU",
        )


def _integers_fit(flat: NDArray[Any], scaling: Scaling) -> bool:
    """Return True if integer values are integers in int16 after scaling, by their extremes."""
    whole = float(scaling.slope).is_integer() and float(scaling.inter).is_integer()
    if flat.dtype.kind not in "iu" or not whole:
        return False
    ends = scaling.apply(np.array([flat.min(), flat.max()]))
    return bool(ends.min() >= _INT16.min and ends.max() <= _INT16.max)


def _survey(flat: NDArray[Any], scaling: Scaling) -> tuple[int, bool]:
    """Return the number of values not finite in float32, and whether all others are int16."""
    broken, integral = 0, True
    for start in range(0, flat.size, _CHUNK_VOXELS):
        with np.errstate(over="ignore", invalid="ignore"):
            values = scaling.apply(flat[start : start + _CHUNK_VOXELS])
            finite = np.abs(values) <= _LARGEST_FLOAT32
        missing = finite.size - int(np.count_nonzero(finite))
        broken += missing
        if integral:
            good = values[finite] if missing else values
            integral = _all_int16(good)
    return broken, integral


def _all_int16(values: NDArray[np.float64]) -> bool:
    if not values.size:
        return True
    inside = values.min() >= _INT16.min and values.max() <= _INT16.max
    return bool(inside and np.array_equal(values, np.rint(values)))


def _convert(stored: NDArray[Any], scaling: Scaling, dtype: np.dtype[Any]) -> Hounsfield:
    if stored.dtype == dtype and scaling == Scaling() and dtype.kind == "i":
        return stored
    reusable = stored.itemsize == dtype.itemsize and stored.flags.writeable
    result = stored.view(dtype) if reusable else np.empty_like(stored, dtype=dtype)
    source, target = stored.ravel(order="K"), result.ravel(order="K")
    for start in range(0, source.size, _CHUNK_VOXELS):
        piece = slice(start, start + _CHUNK_VOXELS)
        with np.errstate(over="ignore", invalid="ignore"):
            values = scaling.apply(source[piece])
            values[~(np.abs(values) <= _LARGEST_FLOAT32)] = AIR_HU
        target[piece] = values
    return result
