"""Prediction of the voxels of a pass and of the size of their residuals, in integers only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.io.latent.entropy.lattice import Integers, Number

# Weights are multiples of 1/64; both neighbors by half is the interpolation without any fit.
WEIGHT_BITS = 6
MIDPOINT = (32, 0)
# Largest magnitude of quantized values, so that sums of weighted neighbors fit into int32.
LARGEST = (1 << 20) - 1
CONTEXTS = 32
LARGEST_ACTIVITY = (1 << 16) - 1
# Weights of the residuals of the channels before, by distance.
_BEFORE = ((1, 4), (2, 2))
CHANNELS_BEFORE = len(_BEFORE)
_FIT_POINTS = 4096
_FEWEST_POINTS = 64
# Values that are fitted at once, of several channels if they are small.
_FIT_VALUES = 1 << 13

Weights = NDArray[np.int8]
Magnitudes = NDArray[np.uint16]


@dataclass(frozen=True)
class Neighborhood:
    """Known voxels around those that a slab of a pass adds, with the axis of the pass first.

    Attributes:
        near: Sum of the two neighbors ``(N, C, ...)``.
        far: Sum of the two voxels behind them.
        activity: Sum of differences and residuals around each voxel, which indicates how large its
            residual may be.
    """

    near: Integers
    far: Integers
    activity: Integers

    @classmethod
    def of(cls, known: Integers, magnitudes: Magnitudes, slab: slice) -> Neighborhood:
        """Collect neighbors.

        Args:
            known: Known voxels ``(M, C, ...)``; added voxel n is between n and n + 1.
            magnitudes: Magnitudes of the residuals of the known voxels, see `magnitudes_of`.
            slab: Added voxels along the first axis.
        """
        low, high = _rows(known, slab, 0), _rows(known, slab, 1)
        activity = np.add(_rows(magnitudes, slab, 0), _rows(magnitudes, slab, 1), dtype=np.int32)
        activity *= 2
        difference = high - low
        activity += np.abs(difference, out=difference)
        return cls(low + high, _rows(known, slab, -1) + _rows(known, slab, 2), activity)

    def predict(self, weights: Weights) -> Integers:
        """Return predictions ``(N, C, ...)`` for weights ``(C, 2)`` in 1/64."""
        channels = weights.astype(np.int32).reshape(1, -1, *(1,) * (self.near.ndim - 2), 2)
        total = self.near * channels[..., 0]
        total += self.far * channels[..., 1]
        total += 1 << (WEIGHT_BITS - 1)
        total >>= WEIGHT_BITS
        return np.clip(total, -LARGEST, LARGEST, out=total)

    def contexts(self, channel: int, sizes: Magnitudes) -> NDArray[np.uint8]:
        """Return the class of the expected size of the residuals of a channel, 0 to 31.

        Args:
            channel: Index of the channel.
            sizes: Magnitudes of the residuals of the added voxels ``(N, B + C, ...)``, beginning
                with those of B channels before the first. Only those of the two channels before
                ``channel`` are read.
        """
        total = self.activity[:, channel].copy()
        place = sizes.shape[1] - self.activity.shape[1] + channel
        for distance, weight in _BEFORE:
            if place >= distance:
                total += np.multiply(sizes[:, place - distance], weight, dtype=np.int32)
        return np.take(_CONTEXT_OF, total, mode="clip")


def magnitudes_of(residuals: Integers) -> Magnitudes:
    """Return magnitudes up to the largest that matters for contexts."""
    sizes = np.abs(residuals)
    return np.minimum(sizes, LARGEST_ACTIVITY, out=sizes).astype(np.uint16)


def fit_weights(known: Integers, target: Integers) -> Weights:
    """Return the weights ``(C, 2)`` that predict the voxels of a pass best, by least squares.

    Args:
        known: Known voxels ``(M, C, ...)``.
        target: Added voxels ``(N, C, ...)``.
    """
    size = target.size // target.shape[1]
    if size < _FEWEST_POINTS:
        return np.array([MIDPOINT] * target.shape[1], dtype=np.int8)
    every = max(1, size // _FIT_POINTS)
    at = np.unravel_index(np.arange(0, size, every), (len(target), *target.shape[2:]))
    together = max(1, _FIT_VALUES // len(at[0]))
    parts = [
        _least_squares(known[:, first : first + together], target[:, first : first + together], at)
        for first in range(0, target.shape[1], together)
    ]
    return np.concatenate(parts)


def _least_squares(known: Integers, target: Integers, at: tuple[NDArray[np.intp], ...]) -> Weights:
    """Fit the weights of channels to some of their voxels."""
    features = np.stack(_both_sides(known, at[0], at[1:])).astype(np.float64).transpose(2, 0, 1)
    wanted = np.moveaxis(target, 1, -1)[at].astype(np.float64).T[..., np.newaxis]
    gram = features @ features.transpose(0, 2, 1)
    # A ridge that is far below the noise keeps constant channels solvable.
    ridge = 1.0 + 1e-6 * np.trace(gram, axis1=1, axis2=2)
    best = np.linalg.solve(gram + ridge[:, np.newaxis, np.newaxis] * np.eye(2), features @ wanted)
    weights: Weights = np.clip(np.rint(best[..., 0] * (1 << WEIGHT_BITS)), -127, 127).astype(
        np.int8
    )
    return weights


def _both_sides(
    known: Integers, row: NDArray[np.intp], place: tuple[NDArray[np.intp], ...]
) -> tuple[Integers, Integers]:
    """Return the sums ``(K, C)`` of the neighbors of voxels, and of the voxels behind them."""
    last, channels_last = len(known) - 1, np.moveaxis(known, 1, -1)
    low, high, behind, ahead = (
        channels_last[np.clip(row + by, 0, last), *place] for by in (0, 1, -1, 2)
    )
    return low + high, behind + ahead


def _rows(known: NDArray[Number], slab: slice, by: int) -> NDArray[Number]:
    """Return the rows of a slab moved by some rows; the ends are repeated."""
    start, stop = slab.start + by, slab.stop + by
    if start >= 0 and stop <= len(known):
        return known[start:stop]
    repeated: NDArray[Number] = known[np.clip(np.arange(start, stop), 0, len(known) - 1)]
    return repeated


def _context_table() -> NDArray[np.uint8]:
    """Return the context of each activity: two per octave."""
    activity = np.arange(LARGEST_ACTIVITY + 1)
    _, exponent = np.frexp(activity)
    half = activity >> np.maximum(exponent - 2, 0) & 1
    context = np.where(activity > 1, 2 * exponent - 1 + half, activity)
    return np.minimum(context, CONTEXTS - 1).astype(np.uint8)


_CONTEXT_OF = _context_table()
