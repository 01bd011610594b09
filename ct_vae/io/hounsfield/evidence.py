"""Statistics of voxel values by which CT in Hounsfield units is told from other numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_VOXELS = 1 << 19
_CHUNK_VOXELS = 1 << 18

# Two windows as narrow as this never hold most voxels of a CT without air: noise alone is wider.
PEAK_WIDTH = 6.0
_PEAK_DISTANCE = 15.0
# Noise of the stored float32 beside whole numbers up to a few thousand.
_WHOLE = 2e-3
# A background is a single value, this far below all but a thousandth of the others.
_BACKGROUND_BELOW = -200
_BACKGROUND_GAP = 300
_STRAY_SHARE = 1e-3

# Below these, volumes are drawn or made for tests: where their values lie proves nothing.
_LEAST_VALUES = 1000
_LEAST_DISTINCT = 50

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Peak:
    """A window of 6 units: where its middle lies, and the share of values in it."""

    place: float
    share: float


@dataclass(frozen=True)
class Evidence:
    """Values inside the field of view.

    Attributes:
        values: A sample of them in ascending order, in float64.
        low: The lowest of all.
        high: The highest of all.
    """

    values: NDArray[np.float64]
    low: float
    high: float

    @classmethod
    def of(cls, voxels: NDArray[Any], outside: BoolArray | None = None) -> Evidence | None:
        """Look at an array of any shape.

        Args:
            voxels: Finite values.
            outside: Voxels of the same shape that do not count.

        Returns:
            The statistics, or ``None`` if no voxel counts.
        """
        low, high = _extremes(voxels, outside)
        if not low <= high:
            return None
        values = np.sort(sampled(voxels, outside)).astype(np.float64)
        # The sample of a small field of view can be empty.
        return cls(values if values.size else np.array([low, high]), low, high)

    def without_background(self) -> Evidence:
        """The same without a constant far below all else, which is no tissue."""
        above = int(np.searchsorted(self.values, self.low, "right"))
        if self.low >= _BACKGROUND_BELOW or not 0 < above < self.values.size:
            return self
        stray = above + int(_STRAY_SHARE * self.values.size)
        nearest = self.values[min(stray, self.values.size - 1)]
        if nearest - self.low < _BACKGROUND_GAP:
            return self
        rest = self.values[above:]
        return Evidence(rest, float(rest[0]), self.high)

    def share(self, low: float, high: float) -> float:
        """Share of values in ``[low, high]``."""
        ends = np.searchsorted(self.values, high, "right"), np.searchsorted(self.values, low)
        return float(ends[0] - ends[1]) / self.values.size

    def count(self, value: float) -> int:
        """How many values of the sample are exactly this one."""
        return round(self.share(value, value) * self.values.size)

    def quantile(self, share: float) -> float:
        """The value below which a share of all values lies."""
        return float(self.values[int(share * (self.values.size - 1))])

    @cached_property
    def noisy(self) -> bool:
        """Whether there are as many values, and as many different ones, as a scanner gives."""
        distinct = int(np.count_nonzero(np.diff(self.values)))
        return self.values.size >= _LEAST_VALUES and distinct >= _LEAST_DISTINCT

    @cached_property
    def step(self) -> int:
        """The whole number of which all differences are multiples; 0 if there is none."""
        offsets = self.values - self.low
        whole = np.rint(offsets)
        if np.abs(offsets - whole).max() > _WHOLE:
            return 0
        return int(np.gcd.reduce(whole.astype(np.int64)))

    @cached_property
    def peaks(self) -> tuple[Peak, Peak]:
        """The two windows of 6 units that hold most values, at least 15 units apart.

        The ends of the range do not count if they are clipped, that is, hold over 1 % each.
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
        """Share of the window of 6 units that holds most values, clipped ends included."""
        return float(_in_window(self.values).max()) / self.values.size


def sampled(voxels: NDArray[Any], outside: BoolArray | None = None) -> NDArray[Any]:
    """Regularly spaced voxels inside the field of view, about half a million of many."""
    # An even step would meet the same columns again and again.
    step = max(1, voxels.size // SAMPLE_VOXELS) | 1
    picked = voxels.ravel(order="K")[::step]
    return picked if outside is None else picked[~outside.ravel(order="K")[::step]]


def distinct_values(
    voxels: NDArray[Any], outside: BoolArray | None, most: int
) -> list[float] | None:
    """All distinct values in ascending order, or ``None`` if there are more than ``most``."""
    found: set[float] = set()
    flat = voxels.ravel(order="K")
    hidden = None if outside is None else outside.ravel(order="K")
    for start in range(0, flat.size, _CHUNK_VOXELS):
        piece = slice(start, start + _CHUNK_VOXELS)
        seen = flat[piece] if hidden is None else flat[piece][~hidden[piece]]
        found.update(np.unique(seen).tolist())
        # In CT the first piece is enough.
        if len(found) > most:
            return None
    return sorted(found)


def _extremes(voxels: NDArray[Any], outside: BoolArray | None) -> tuple[float, float]:
    """Exact extremes inside the field of view; ``(inf, -inf)`` if there is no voxel."""
    if outside is None:
        return float(voxels.min()), float(voxels.max())
    seen = ~outside
    if not seen.any():
        return np.inf, -np.inf
    low = voxels.min(initial=voxels.max(), where=seen)
    return float(low), float(voxels.max(initial=voxels.min(), where=seen))


def _in_window(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many values lie within the window that begins at each."""
    counts: NDArray[np.int64] = np.searchsorted(values, values + PEAK_WIDTH, "right")
    return counts - np.arange(values.size)
