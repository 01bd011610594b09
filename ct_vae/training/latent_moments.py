"""Sums from which the spread of a latent follows, gathered part by part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LatentMoments:
    """Count of latent voxels, and for each channel the sum of values and of their squares.

    Attributes:
        count: Latent voxels.
        sums: One for each channel.
        squares: One for each channel.
    """

    count: int
    sums: tuple[float, ...]
    squares: tuple[float, ...]

    @classmethod
    def of(cls, values: NDArray[np.number]) -> LatentMoments:
        """Of values ``(C, N)``, summed in float64."""
        wide = values.astype(np.float64)
        sums, squares = wide.sum(1).tolist(), np.square(wide).sum(1).tolist()
        return cls(wide.shape[1], tuple(sums), tuple(squares))

    @classmethod
    def together(cls, parts: Sequence[LatentMoments]) -> LatentMoments:
        """Of all parts; their order does not change a bit."""
        sums = zip(*(p.sums for p in parts), strict=True)
        squares = zip(*(p.squares for p in parts), strict=True)
        return cls(
            sum(p.count for p in parts), tuple(map(math.fsum, sums)), tuple(map(math.fsum, squares))
        )

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel."""
        return tuple(s / self.count for s in self.sums)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel, with the number of voxels as divisor."""
        pairs = zip(self.squares, self.mean, strict=True)
        return tuple(math.sqrt(max(0.0, q / self.count - m * m)) for q, m in pairs)
