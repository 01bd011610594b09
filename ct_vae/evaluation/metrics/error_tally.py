"""Accumulation of errors for MAE, RMSE, bias and percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bound of differences of int16 values in half steps.
_REACH = 1 << 17
# Bin width for errors that are not whole, and the maximum number of bins.
FLOAT_BIN_HU = 1 / 32
_MOST_BINS = 1 << 22


@dataclass(frozen=True)
class ErrorNumbers:
    """Error metrics in HU: mean absolute error, RMSE, mean error, and percentiles."""

    mae: float
    rmse: float
    bias: float
    percentiles: list[float]


class WholeTally:
    """Histogram of errors in whole steps, for exact metrics.

    Args:
        step: Size of a step in HU.
    """

    def __init__(self, step: float = 1.0) -> None:
        self.step = step
        self.n = 0
        self.counts = np.zeros(2 * _REACH + 1, np.int64)

    def add(self, errors: NDArray[np.int32]) -> None:
        """Add errors in steps, from -131 072 to 131 072."""
        if errors.size:
            self.n += errors.size
            low = int(errors.min())
            counts = np.bincount(np.subtract(errors, low, dtype=np.intp).ravel())
            self.counts[_REACH + low :][: counts.size] += counts

    def numbers(self, percentages: Sequence[float]) -> ErrorNumbers:
        """Return the metrics of at least one error; percentiles as in `numpy.percentile`."""
        found = np.flatnonzero(self.counts)
        errors, counts = (found - _REACH).tolist(), self.counts[found].tolist()
        # Python integers, because sums of squares may exceed 2^63.
        square = sum(c * e * e for c, e in zip(counts, errors, strict=True))
        signed = sum(c * e for c, e in zip(counts, errors, strict=True))
        absolute = sum(c * abs(e) for c, e in zip(counts, errors, strict=True))
        sizes = self.counts[_REACH:].copy()
        sizes[1:] += self.counts[_REACH - 1 :: -1]
        return ErrorNumbers(
            absolute * self.step / self.n,
            math.sqrt(square / self.n) * self.step,
            signed * self.step / self.n,
            [self.step * _percentile(sizes, self.n, p) for p in percentages],
        )


class FloatTally:
    """Sums and histogram of float errors; percentiles are accurate to 1/64 HU."""

    def __init__(self) -> None:
        self.n = 0
        self._sums = np.zeros(3)
        self._counts = np.zeros(1, np.int64)

    def add(self, errors: NDArray[np.float64]) -> None:
        """Add finite errors in HU."""
        if not errors.size:
            return
        self.n += errors.size
        absolute = np.abs(errors)
        flat = errors.ravel()
        self._sums += absolute.sum(), flat @ flat, flat.sum()
        bins = np.minimum(absolute / FLOAT_BIN_HU, _MOST_BINS).astype(np.intp)
        counts = np.bincount(bins.ravel(), minlength=self._counts.size)
        counts[: self._counts.size] += self._counts
        self._counts = counts

    def numbers(self, percentages: Sequence[float]) -> ErrorNumbers:
        """Return the metrics of at least one error."""
        mae, square, bias = (self._sums / self.n).tolist()
        percentiles = [
            FLOAT_BIN_HU * (_percentile(self._counts, self.n, p) + 0.5) for p in percentages
        ]
        return ErrorNumbers(mae, math.sqrt(square), bias, percentiles)


def _percentile(counts: NDArray[np.int64], n: int, percentage: float) -> float:
    """Return a percentile of counted indices, by linear interpolation of order statistics."""
    rank = percentage / 100 * (n - 1)
    below = math.floor(rank)
    ends = np.searchsorted(counts.cumsum(), [below, min(below + 1, n - 1)], side="right").tolist()
    return float(ends[0] + (rank - below) * (ends[1] - ends[0]))
