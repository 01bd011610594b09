"""Quantization of latent values to int16 with one slope and intercept per file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.latent.blocks import blocks

_HIGHEST = 32767
_TINY = np.finfo(np.float32).tiny

FloatLatent = NDArray[np.float32]


@dataclass(frozen=True)
class Int16Latent:
    """Integers with float32 slope and intercept; values are ``slope * stored + inter``."""

    stored: NDArray[np.int16]
    slope: float
    inter: float

    def values(self) -> FloatLatent:
        """Return the values, computed in float64 and rounded to float32."""
        return dequantize_int16(self.stored, self.slope, self.inter)


def check_finite(array: FloatLatent) -> None:
    """Raise an error for a latent with values that are not finite.

    Raises:
        InputError: If a value is not finite.
    """
    count = array.size - sum(np.count_nonzero(np.isfinite(part)) for (part,) in blocks(array))
    if count:
        raise InputError(
            f"the latent holds {count} of {array.size} values that are not finite",
            "the model's numbers overflowed: encode in float32",
        )


def quantize_int16(array: FloatLatent) -> Int16Latent:
    """Map the range of the values to -32767 .. 32767.

    Slope and intercept are rounded to float32, as in the file, before values are quantized, so that
    errors are at most half a step.

    Raises:
        InputError: If a value is not finite.
    """
    check_finite(array)
    low, high = float(array.min()), float(array.max())
    inter = float(np.float32((low + high) / 2))
    reach = max(high - inter, inter - low)
    # The next larger float32, since rounding down would move the ends out of the range.
    slope = float(np.nextafter(np.float32(reach / _HIGHEST), np.float32(np.inf)))
    slope = 1.0 if reach == 0 else max(slope, float(_TINY))
    stored = np.empty(array.shape, dtype=np.int16)
    for counts, values in blocks(stored, array):
        counts[...] = np.rint((values.astype(np.float64) - inter) / slope)
    return Int16Latent(stored, slope, inter)


def dequantize_int16(stored: NDArray[np.generic], slope: float, inter: float) -> FloatLatent:
    """Return the values of stored integers, computed in float64 and rounded to float32."""
    array = np.empty(stored.shape, dtype=np.float32)
    for values, counts in blocks(array, stored):
        values[...] = counts.astype(np.float64) * slope + inter
    return array
