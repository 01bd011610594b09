"""Storing latent values in 16 bits: one slope and one intercept per file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError

_HIGHEST = 32767
_TINY = np.finfo(np.float32).tiny

FloatLatent = NDArray[np.float32]


@dataclass(frozen=True)
class Quantised:
    """Integers, and the float32 numbers by which ``slope * stored + inter`` gives values."""

    stored: NDArray[np.int16]
    slope: float
    inter: float

    def values(self) -> FloatLatent:
        """What a reader gets: computed in float64, rounded to float32."""
        return dequantise(self.stored, self.slope, self.inter)


def check_finite(array: FloatLatent) -> None:
    """Refuse a latent whose numbers overflowed.

    Raises:
        InputError: If a value is not finite.
    """
    count = array.size - int(np.count_nonzero(np.isfinite(array)))
    if count:
        raise InputError(
            f"the latent holds {count} of {array.size} values that are not finite",
            "the model's numbers overflowed: encode in float32",
        )


def quantise(array: FloatLatent) -> Quantised:
    """Spread the range of the values over -32767 .. 32767.

    Slope and intercept are rounded to float32, as the file keeps them, before the values are
    divided, so that the error of a value is half a step and no more.

    Raises:
        InputError: If a value is not finite.
    """
    check_finite(array)
    low, high = float(array.min()), float(array.max())
    inter = float(np.float32((low + high) / 2))
    reach = max(high - inter, inter - low)
    # The next larger float32: rounding down would push the ends out of the range.
    slope = float(np.nextafter(np.float32(reach / _HIGHEST), np.float32(np.inf)))
    slope = 1.0 if reach == 0 else max(slope, float(_TINY))
    steps = np.rint((array.astype(np.float64) - inter) / slope)
    return Quantised(steps.astype(np.int16), slope, inter)


def dequantise(stored: NDArray[np.generic], slope: float, inter: float) -> FloatLatent:
    """Values of stored integers: computed in float64, rounded to float32."""
    return (stored.astype(np.float64) * slope + inter).astype(np.float32)
