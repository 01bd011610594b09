"""Statistics of voxel values that distinguish CT in Hounsfield units from other values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_VOXELS = 1 << 19
_CHUNK_VOXELS = 1 << 18

# Two windows of this width never contain most voxels of a CT without air, as noise is wider.
PEAK_WIDTH = 6.0
_PEAK_DISTANCE = 15.0
# Rounding error of integers up to a few thousand that were stored as scaled float32.
_WHOLE = 2e-3
# A background is a single value this far below all but a thousandth of the others.
_BACKGROUND_BELOW = -200
_BACKGROUND_GAP = 300
_STRAY_SHARE = 1e-3

# With fewer values, volumes are synthetic, and their distribution proves nothing.
_LEAST_VALUES = 1000
_LEAST_DISTINCT = 50

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Peak:
    """A window of 6 units: its center and the fraction of values in it."""

    center: float
    fraction: float


@dataclass(frozen=True)
class Evidence:
    """Statistics of the values inside the field of view.

    Attributes:
        values: Sorted sample of the values, in float64.
        low: Lowest value of all voxels.
        high: Highest value of all voxels.
    """

    values: NDArray[np.float64]
    low: float
    high: float

    @classmethod
    def of(cls, voxels: NDArray[Any], outside: BoolArray | None = None) -> Evidence | None:
        """Compute the statistics of an array of any shape.

        Args:
            voxels: Finite values.
            outside: Mask of voxels to ignore.

        Returns:
            The statistics, or ``None`` if all voxels are ignored.
        """
        low, high = _extremes(voxels, outside)
        if not low <= high:
            return None
        values = np.sort(sampled(voxels, outside)).astype(np.float64)
        # The sample of a small field of view can be empty.
        return cls(values if values.size else np.array([low, high]), low, high)

    def without_background(self) -> Evidence:
        """Return the statistics without a constant background far below all other values."""
        above = int(np.searchsorted(self.values, self.low, "right"))
        if self.low >= _BACKGROUND_BELOW or not 0 < above < self.values.size:
            return self
        stray = above + int(_STRAY_SHARE * self.values.size)
        nearest = self.values[min(stray, self.values.size - 1)]
        if nearest - self.low < _BACKGROUND_GAP:
            return self
        rest = self.values[above:]
        return Evidence(rest, float(rest[0]), self.high)

    def fraction(self, low: float, high: float) -> float:
        """Return the fraction of values in ``[low, high]``."""
        ends = np.searchsorted(self.values, high, "right"), np.searchsorted(self.values, low)
        return float(ends[0] - ends[1]) / self.values.size

    def count(self, value: float) -> int:
        """Return the number of values in the sample that equal ``value``."""
        return round(self.fraction(value, value) * self.values.size)

    def quantile(self, fraction: float) -> float:
        """Return the value below which a fraction of the sample is."""
        return float(self.values[int(fraction * (self.values.size - 1))])

    @cached_property
    def noisy(self) -> bool:
        """True if the number of values and of distinct values is that of a scanner's image."""
        distinct = int(np.count_nonzero(np.diff(self.values)))
        return self.values.size >= _LEAST_VALUES and distinct >= _LEAST_DISTINCT

    @cached_property
    def step(self) -> int:
        """The greatest common divisor of all differences; 0 if they are not integers."""
        offsets = self.values - self.low
        whole = np.rint(offsets)
        if np.abs(offsets - whole).max() > _WHOLE:
            return 0
        return int(np.gcd.reduce(whole.astype(np.int64)))

    @cached_property
    def peaks(self) -> tuple[Peak, Peak]:
        """The two windows of 6 units with the most values, at least 15 units apart.

        The ends of the range are ignored if they are clipped, that is, have over 1 % each.
        """
        values = self.values
        for end in (self.low, self.high):
            if self.count(end) > 0.01 * self.values.size:
                values = values[values != end]
        if values.size < 0.02 * self.values.size:
            return Peak(self.low, 0.0), Peak(self.high, 0.0)
        counts = _in_window(values)
        first = int(counts.argmax())
        apart = np.abs(values - values[first]) >= _PEAK_DISTANCE
        second = int(np.where(apart, counts, 0).argmax())
        shares = counts[first] / values.size, counts[second] * apart[second] / values.size
        places = values[first] + PEAK_WIDTH / 2, values[second] + PEAK_WIDTH / 2
        return Peak(float(places[0]), float(shares[0])), Peak(float(places[1]), float(shares[1]))

    @cached_property
    def commonest(self) -> float:
        """Fraction of the values in the window of 6 units with most of them, with clipped ends."""
        return float(_in_window(self.values).max()) / self.values.size


def sampled(voxels: NDArray[Any], outside: BoolArray | None = None) -> NDArray[Any]:
    """Return regularly spaced voxels inside the field of view, at most about half a million."""
    # An even step would always sample the same columns.
    step = max(1, voxels.size // SAMPLE_VOXELS) | 1
    picked = voxels.ravel(order="K")[::step]
    return picked if outside is None else picked[~outside.ravel(order="K")[::step]]


def distinct_values(
    voxels: NDArray[Any], outside: BoolArray | None, most: int
) -> list[float] | None:
    """Return all distinct values, ascending, or ``None`` if there are more than ``most``."""
    found: set[float] = set()
    flat = voxels.ravel(order="K")
    hidden = None if outside is None else outside.ravel(order="K")
    for start in range(0, flat.size, _CHUNK_VOXELS):
        piece = slice(start, start + _CHUNK_VOXELS)
        seen = flat[piece] if hidden is None else flat[piece][~hidden[piece]]
        found.update(np.unique(seen).tolist())
        # For CT, the first piece is enough.
        if len(found) > most:
            return None
    return sorted(found)


def _extremes(voxels: NDArray[Any], outside: BoolArray | None) -> tuple[float, float]:
    """Return the extremes inside the field of view; ``(inf, -inf)`` if there is no voxel."""
    if outside is None:
        return float(voxels.min()), float(voxels.max())
    seen = ~outside
    if not seen.any():
        return np.inf, -np.inf
    low = voxels.min(initial=voxels.max(), where=seen)
    return float(low), float(voxels.max(initial=voxels.min(), where=seen))


def _in_window(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of values in the window that begins at each value."""
    counts: NDArray[np.int64] = np.searchsorted(values, values + PEAK_WIDTH, "right")
    return counts - np.arange(values.size)
