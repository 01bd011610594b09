"""Prediction of the voxels of a pass and of the size of their residuals, in integers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.io.latent.entropy.lattice import Integers, Pass

# Weights are multiples of 1/64; both neighbors by half is the interpolation without any fit.
WEIGHT_BITS = 6
MIDPOINT = (32, 0)
# Largest magnitude of quantized values, so that sums of weighted neighbors fit into int32.
LARGEST = (1 << 20) - 1
CONTEXTS = 32
_LARGEST_ACTIVITY = (1 << 16) - 1
# Weights of the residuals of the channels before, by distance.
_BEFORE = ((1, 4), (2, 2))
_FIT_POINTS = 4096
_FEWEST_POINTS = 64

Weights = NDArray[np.int8]


@dataclass(frozen=True)
class Neighborhood:
    """Known voxels around those that a pass adds, with the axis of the pass first.

    Attributes:
        near: Sum of the two neighbors ``(N, C, ...)``.
        far: Sum of the two voxels behind them.
        activity: Sum of differences and residuals around each voxel, which tells how large its
            residual may be.
    """

    near: Integers
    far: Integers
    activity: Integers

    @classmethod
    def of(cls, step: Pass, values: Integers, residuals: Integers) -> Neighborhood:
        """Collect neighbors.

        Args:
            step: Pass whose voxels are to be predicted.
            values: Array ``(C, X, Y, Z)``; only known voxels are read.
            residuals: Magnitudes of the residuals of the known voxels.
        """
        known = step.view(values, step.known)
        added = step.view(values, step.added).shape[0]
        low, high = known[:added], _shifted(known, 1, added)
        found = step.view(residuals, step.known)
        activity = found[:added] + _shifted(found, 1, added)
        activity *= 2
        activity += np.abs(high - low)
        far = _shifted(known, -1, added) + _shifted(known, 2, added)
        return cls(low + high, far, activity)

    def predict(self, weights: Weights) -> Integers:
        """Return predictions ``(N, C, ...)`` for weights ``(C, 2)`` in 1/64."""
        channels = weights.astype(np.int32).reshape(1, -1, *(1,) * (self.near.ndim - 2), 2)
        total = self.near * channels[..., 0]
        total += self.far * channels[..., 1]
        total += 1 << (WEIGHT_BITS - 1)
        total >>= WEIGHT_BITS
        return np.clip(total, -LARGEST, LARGEST, out=total)

    def contexts(self, channel: int, sizes: Integers) -> NDArray[np.uint8]:
        """Return the class of the expected size of the residuals of a channel, 0 to 31.

        Args:
            channel: Index of the channel.
            sizes: Magnitudes of the residuals of the pass ``(N, C, ...)``; only those of the two
                channels before are read.
        """
        total = self.activity[:, channel].copy()
        for distance, weight in _BEFORE:
            if channel >= distance:
                total += weight * sizes[:, channel - distance]
        return _CONTEXT_OF[np.minimum(total, _LARGEST_ACTIVITY, out=total)]

    def fit(self, target: Integers) -> Weights:
        """Return the weights ``(C, 2)`` that predict the target best, by least squares."""
        fitted = [
            _least_squares(self.near[:, c].ravel(), self.far[:, c].ravel(), target[:, c].ravel())
            for c in range(target.shape[1])
        ]
        return np.array(fitted, dtype=np.int8)


def _shifted(known: Integers, by: int, count: int) -> Integers:
    """Return ``count`` voxels from ``by`` on along the first axis; the ends are repeated."""
    if by >= 0 and by + count <= len(known):
        return known[by : by + count]
    return known[np.clip(np.arange(by, by + count), 0, len(known) - 1)]


def _least_squares(near: Integers, far: Integers, target: Integers) -> tuple[int, int]:
    if target.size < _FEWEST_POINTS:
        return MIDPOINT
    every = max(1, target.size // _FIT_POINTS)
    features = np.stack([near[::every], far[::every]]).astype(np.float64)
    gram = features @ features.T
    # A ridge that is far below the noise keeps constant channels solvable.
    gram += np.eye(2) * (1.0 + 1e-6 * np.trace(gram))
    best = np.linalg.solve(gram, features @ target[::every].astype(np.float64))
    a, b = np.clip(np.rint(best * (1 << WEIGHT_BITS)), -127, 127).astype(int)
    return int(a), int(b)


def _context_table() -> NDArray[np.uint8]:
    """Return the context of each activity: two per octave."""
    activity = np.arange(_LARGEST_ACTIVITY + 1)
    _, exponent = np.frexp(activity)
    half = activity >> np.maximum(exponent - 2, 0) & 1
    context = np.where(activity > 1, 2 * exponent - 1 + half, activity)
    return np.minimum(context, CONTEXTS - 1).astype(np.uint8)


_CONTEXT_OF = _context_table()
