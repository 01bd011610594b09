"""Order in which the voxels of a latent are coded: a lattice that becomes finer pass by pass.

The first voxel is stored as it is. Each pass halves the spacing of the known voxels along one axis;
the voxels that it adds lie midway between known ones and are predicted from them. All values of a
pass depend on known voxels only, so that a whole pass is computed at once in either direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]
Slices = tuple[slice, slice, slice, slice]


@dataclass(frozen=True)
class Pass:
    """One refinement of the lattice of known voxels.

    Attributes:
        axis: Axis of the array ``(C, X, Y, Z)`` along which voxels are added.
        known: Slices of the known voxels.
        added: Slices of the voxels that the pass adds.
    """

    axis: int
    known: Slices
    added: Slices

    def view(self, array: Integers, where: Slices) -> Integers:
        """Return voxels of an array with the axis of the pass first, ``(N, C, ...)``."""
        return np.moveaxis(array[where], self.axis, 0)


def lattice_passes(shape: Sequence[int], order: Sequence[int]) -> Iterator[Pass]:
    """Return the passes for a latent, from coarse to fine.

    Args:
        shape: Sides ``(X, Y, Z)``.
        order: Axes 0 to 2 in the order in which each level refines them. Half of all values are
            predicted along the last one.
    """
    stride = 1 << max(max(shape) - 1, 1).bit_length() - 1
    while stride:
        for k, axis in enumerate(order):
            if stride < shape[axis]:
                yield _refinement(order, k, stride)
        stride //= 2


def smoothest_last(integers: Integers) -> tuple[int, int, int]:
    """Return the axes ordered by the differences between neighbors, the smallest last."""
    rough = []
    for axis in range(3):
        steps = np.diff(integers, axis=axis + 1)
        rough.append(float(np.abs(steps).mean()) if steps.size else 0.0)
    a, b, c = sorted(range(3), key=lambda axis: -rough[axis])
    return a, b, c


def _refinement(order: Sequence[int], k: int, stride: int) -> Pass:
    known, added = [slice(None)] * 4, [slice(None)] * 4
    for j, axis in enumerate(order):
        spacing = stride if j < k else 2 * stride
        known[axis + 1] = slice(0, None, spacing)
        added[axis + 1] = slice(stride if j == k else 0, None, spacing)
    return Pass(
        order[k] + 1,
        (known[0], known[1], known[2], known[3]),
        (added[0], added[1], added[2], added[3]),
    )
