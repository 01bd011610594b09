"""Order in which the voxels of a latent are coded: a lattice that becomes finer pass by pass.

The first voxel is stored as it is. Each pass halves the spacing of the known voxels along one axis;
the voxels that it adds lie midway between known ones and are predicted from them. All values of a
pass depend on known voxels only, so that it is computed in slabs of any size in either direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int32]
Slices = tuple[slice, slice, slice, slice]
Number = TypeVar("Number", bound=np.number)

# Values for which differences are computed at once.
_SLAB_VALUES = 1 << 14


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

    def view(self, array: NDArray[Number], where: Slices) -> NDArray[Number]:
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


def row_slabs(rows: int, row_values: int, values: int) -> Iterator[slice]:
    """Divide rows into slabs.

    Args:
        rows: Number of rows.
        row_values: Values in each row.
        values: Largest number of values in a slab, which has one row at least.
    """
    step = max(1, values // max(1, row_values))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def smoothest_last(integers: Integers) -> tuple[int, int, int]:
    """Return the axes ordered by the differences between neighbors, the smallest last."""
    rough = []
    for axis in range(3):
        count = integers.size // integers.shape[axis + 1] * (integers.shape[axis + 1] - 1)
        rough.append(_sum_of_differences(integers, axis) / count if count else 0.0)
    a, b, c = sorted(range(3), key=lambda axis: -rough[axis])
    return a, b, c


def _sum_of_differences(integers: Integers, axis: int) -> int:
    total = 0
    for channel in integers:
        rows = np.moveaxis(channel, axis, 0)
        for slab in row_slabs(len(rows) - 1, rows[0].size, _SLAB_VALUES):
            steps = rows[slab.start + 1 : slab.stop + 1] - rows[slab]
            total += int(np.abs(steps, out=steps).sum(dtype=np.int64))
    return total


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
