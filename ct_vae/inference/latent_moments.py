"""Mean and standard deviation of a latent's channels, from parts that are put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LatentMoments:
    """Number of latent voxels, and for each channel its mean and its squared deviations.

    Parts are put together after Chan, Golub and LeVeque 1983, with sums that do not depend on the
    order of the parts.

    Attributes:
        count: Latent voxels.
        mean: Mean of each channel.
        deviations: Sum of squared deviations from the mean, for each channel.
    """

    count: int
    mean: tuple[float, ...]
    deviations: tuple[float, ...]

    @classmethod
    def of(cls, values: NDArray[np.number]) -> LatentMoments:
        """Measure values ``(C, N)`` in float64."""
        count = values.shape[1]
        if not count:
            return cls(0, (0.0,) * len(values), (0.0,) * len(values))
        # Channel by channel, so that one of them at most is held in float64.
        mean = [float(row.mean(dtype=np.float64)) for row in values]
        deviations = [
            float(np.square(row.astype(np.float64) - m).sum())
            for row, m in zip(values, mean, strict=True)
        ]
        return cls(count, tuple(mean), tuple(deviations))

    @classmethod
    def together(cls, parts: Sequence[LatentMoments]) -> LatentMoments:
        """Put parts together; their order does not change a bit of the result."""
        filled = [part for part in parts if part.count] or list(parts[:1])
        count = sum(part.count for part in filled)
        counts = [part.count for part in filled]
        pooled = [
            _pooled(counts, means, deviations)
            for means, deviations in zip(
                zip(*(part.mean for part in filled), strict=True),
                zip(*(part.deviations for part in filled), strict=True),
                strict=True,
            )
        ]
        return cls(count, tuple(mean for mean, _ in pooled), tuple(d for _, d in pooled))

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel, with the number of voxels as divisor."""
        return tuple(math.sqrt(d / self.count) for d in self.deviations)

    @property
    def pooled_std(self) -> float:
        """Standard deviation of the values of all channels together."""
        counts = [self.count] * len(self.mean)
        _, deviations = _pooled(counts, self.mean, self.deviations)
        return math.sqrt(deviations / sum(counts))

    def with_noise(self, variances: Sequence[float]) -> LatentMoments:
        """Add noise to every value, of which the variances of a channel sum up to a number."""
        added = tuple(d + v for d, v in zip(self.deviations, variances, strict=True))
        return LatentMoments(self.count, self.mean, added)


def _pooled(
    counts: Sequence[int], means: Sequence[float], deviations: Sequence[float]
) -> tuple[float, float]:
    """Return the mean of all groups together and the squared deviations from it."""
    weighted = zip(counts, means, strict=True)
    mean = math.fsum(n * m for n, m in weighted) / max(1, sum(counts))
    between = math.fsum(n * (m - mean) ** 2 for n, m in zip(counts, means, strict=True))
    return mean, math.fsum(deviations) + between
