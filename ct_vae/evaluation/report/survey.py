"""Location, size and histogram of the errors of a pair, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.evaluation.metrics.pair import slabs_of
from ct_vae.evaluation.windows import WINDOWS

IntArray = NDArray[np.int64]
# Errors are counted in bins of 1 HU up to this; larger ones are counted in the outer bins.
HISTOGRAM_HU = 300
_SLAB_VOXELS = 2_000_000


@dataclass(frozen=True, eq=False)
class Survey:
    """Errors of a reconstruction in RAS order.

    Attributes:
        rmse: Root mean square error in HU inside the mask, both clipped to the full range.
        worst: RAS indices of the largest absolute error inside the mask, not clipped.
        worst_hu: That error, with its sign.
        plane_rmse: Root mean square error inside the mask per slice, for x, y and z.
        histogram: Number of voxels per whole HU of error from ``-HISTOGRAM_HU`` on.
    """

    rmse: float
    worst: tuple[int, int, int]
    worst_hu: float
    plane_rmse: tuple[NDArray[np.float64], ...]
    histogram: IntArray


def survey(
    original: NDArray[np.generic],
    result: NDArray[np.generic],
    mask: NDArray[np.bool_],
) -> Survey:
    """Collect the errors of a pair, slab by slab.

    Args:
        original: Original ``(X, Y, Z)`` in HU, in RAS order.
        result: Reconstruction ``(X, Y, Z)`` in HU, in RAS order.
        mask: Voxels to include; an empty mask means all.

    Raises:
        InputError: If a value is not finite.
    """
    everywhere = not mask.any()
    sums = _Sums(mask.shape)
    for part in slabs_of(mask.shape, _SLAB_VOXELS):
        inside = np.ones_like(mask[part]) if everywhere else mask[part]
        sums.add(part.start, original[part].astype("f4"), result[part].astype("f4"), inside)
    return sums.survey()


class _Sums:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._square = [np.zeros(n) for n in shape]
        self._count = [np.zeros(n) for n in shape]
        self._clipped = 0.0
        self._histogram = np.zeros(2 * HISTOGRAM_HU + 1, np.int64)
        self._worst: tuple[float, float, tuple[int, int, int]] = (-1.0, 0.0, (0, 0, 0))

    def add(
        self,
        first: int,
        original: NDArray[np.float32],
        result: NDArray[np.float32],
        inside: NDArray[np.bool_],
    ) -> None:
        error = np.where(inside, result - original, 0)
        if not np.isfinite(error).all():
            raise InputError("original or reconstruction holds values that are not finite")
        square = error.astype(np.float64) ** 2
        x = slice(first, first + len(error))
        for axis, where in enumerate((x, slice(None), slice(None))):
            others = tuple(a for a in range(3) if a != axis)
            self._square[axis][where] += square.sum(axis=others)
            self._count[axis][where] += inside.sum(axis=others)
        low, high = WINDOWS["full"].low, WINDOWS["full"].high
        clipped = (result.clip(low, high) - original.clip(low, high))[inside].astype(np.float64)
        self._clipped += float(clipped @ clipped)
        steps = np.rint(error[inside]).clip(-HISTOGRAM_HU, HISTOGRAM_HU).astype(np.int64)
        self._histogram += np.bincount(steps + HISTOGRAM_HU, minlength=self._histogram.size)
        i, j, k = np.unravel_index(np.abs(error).argmax(), error.shape)
        found = float(error[i, j, k])
        if inside.any() and abs(found) > self._worst[0]:
            self._worst = (abs(found), found, (first + int(i), int(j), int(k)))

    def survey(self) -> Survey:
        rmse = tuple(
            np.sqrt(square / np.maximum(count, 1))
            for square, count in zip(self._square, self._count, strict=True)
        )
        total = math.sqrt(self._clipped / max(self._count[0].sum(), 1))
        _, worst_hu, worst = self._worst
        return Survey(total, worst, worst_hu, rmse, self._histogram)
