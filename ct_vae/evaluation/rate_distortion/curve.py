"""Rate-distortion curves and the comparison of two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Region = Literal["body", "soft_tissue"]
REGIONS: tuple[Region, ...] = ("body", "soft_tissue")
# Crossings are searched at this many rates between the ends of both curves.
_SEARCHED = 2000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RatePoint:
    """One point of a curve.

    Attributes:
        level: Setting of the method, such as its quantizer step.
        bits_per_voxel: Size of the code in bits per voxel of the original.
        body: RMSE inside the body in HU, clipped to the full window.
        soft_tissue: RMSE inside the body in HU, clipped to the soft tissue window.
    """

    level: float
    bits_per_voxel: float
    body: float
    soft_tissue: float


@dataclass(frozen=True)
class Curve:
    """Rate-distortion curve of one method for one volume.

    Attributes:
        name: Name of the method: ``model``, ``klt``, ``jpeg2000``, ``sperr`` or ``hevc``.
        points: Points of the curve in any order.
    """

    name: str
    points: tuple[RatePoint, ...]

    def front(self, region: Region) -> tuple[FloatArray, FloatArray]:
        """Return rates and errors, by increasing rate, of the points that no other one dominates.

        A point is dominated if another one has no larger error at no larger rate. Points without
        error are left out, because their logarithm is infinite.
        """
        rates, errors = [], []
        best = np.inf
        for point in sorted(self.points, key=lambda p: (p.bits_per_voxel, getattr(p, region))):
            error = getattr(point, region)
            if 0 < error < best:
                best = error
                rates.append(point.bits_per_voxel)
                errors.append(error)
        return np.array(rates, np.float64), np.array(errors, np.float64)

    def error_at(self, bits_per_voxel: float, region: Region) -> float | None:
        """Return the error in HU at a rate, interpolated; ``None`` outside the curve."""
        rates, errors = self.front(region)
        return _interpolated(rates, errors, bits_per_voxel)

    def rate_at(self, error_hu: float, region: Region) -> float | None:
        """Return the bits per voxel needed for an error, interpolated; ``None`` outside it."""
        rates, errors = self.front(region)
        return _interpolated(errors[::-1], rates[::-1], error_hu)


def bd_rate(curve: Curve, reference: Curve, region: Region) -> float | None:
    """Compute the Bjontegaard delta rate of a curve with respect to a reference, in percent.

    It is the mean difference of the logarithms of the rates at equal error, over the errors that
    both curves reach, as a percentage (Bjontegaard 2001, VCEG-M33). Errors are in dB, and the
    logarithm of the rate is a monotone cubic function of them (PCHIP, as in VCEG-AE07 and later
    common test conditions). Negative means that the curve needs fewer bits than the reference.

    Returns:
        Percentage, or ``None`` if a curve has fewer than two points or the errors do not overlap.
    """
    sides = [_decibels(*each.front(region)) for each in (curve, reference)]
    if any(len(loss) < 2 for loss, _ in sides):
        return None
    low = max(loss[0] for loss, _ in sides)
    high = min(loss[-1] for loss, _ in sides)
    if not low < high:
        return None
    own, other = (float(PchipInterpolator(loss, rate).integrate(low, high)) for loss, rate in sides)
    return float(100 * (10 ** ((own - other) / (high - low)) - 1))


def crossings(curve: Curve, reference: Curve, region: Region) -> list[float]:
    """Return the rates in bits per voxel at which two curves cross, in increasing order."""
    sides = [each.front(region) for each in (curve, reference)]
    if any(len(rates) < 2 for rates, _ in sides):
        return []
    low = max(rates[0] for rates, _ in sides)
    high = min(rates[-1] for rates, _ in sides)
    if not low < high:
        return []
    searched = np.linspace(np.log10(low), np.log10(high), _SEARCHED)
    own, other = (PchipInterpolator(np.log10(r), np.log10(e))(searched) for r, e in sides)
    apart = own - other
    before = np.flatnonzero(np.diff(np.sign(apart)) != 0)
    # Linear between two rates.
    share = apart[before] / (apart[before] - apart[before + 1])
    found = searched[before] + share * (searched[before + 1] - searched[before])
    rates: list[float] = (10**found).tolist()
    return rates


def mean_curve(curves: Sequence[Curve], region: Region, count: int = 32) -> Curve | None:
    """Return the geometric mean over volumes of curves of one method.

    Errors are averaged at rates that all curves cover.

    Returns:
        Curve whose points have the same error for both regions, or ``None`` if no rate is covered
        by all curves.
    """
    fronts = [curve.front(region) for curve in curves]
    if not fronts or any(len(rates) < 2 for rates, _ in fronts):
        return curves[0] if len(curves) == 1 else None
    if len(curves) == 1:
        return curves[0]
    low, high = max(r[0] for r, _ in fronts), min(r[-1] for r, _ in fronts)
    if not low < high:
        return None
    rates = np.geomspace(low, high, count).clip(low, high)
    logs = [PchipInterpolator(np.log10(r), np.log10(e))(np.log10(rates)) for r, e in fronts]
    errors = 10 ** np.mean(logs, axis=0)
    points = (
        RatePoint(0.0, float(r), float(e), float(e)) for r, e in zip(rates, errors, strict=True)
    )
    return Curve(curves[0].name, tuple(points))


def _decibels(rates: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return errors in dB, increasing, and the decimal logarithm of the rates."""
    return 20 * np.log10(errors)[::-1], np.log10(rates)[::-1]


def _interpolated(x: FloatArray, y: FloatArray, at: float) -> float | None:
    if len(x) < 2 or not x[0] <= at <= x[-1]:
        return None
    # Both are positive and span orders of magnitude.
    return float(10 ** PchipInterpolator(np.log10(x), np.log10(y))(np.log10(at)))
