"""Voxels of a training case, in memory or in a file from which each patch is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ct_vae.datasets.cache.brick_file import BrickFile
from ct_vae.grid import Triple
from ct_vae.volume import BODY_ABOVE_HU, Volume

Spacing = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """Volume in int16 HU from which patches are cut.

    Attributes:
        shape: Number of voxels along each axis.
        spacing_mm: Voxel spacing along each axis.
        body_counts: ``(X,)`` number of voxels above -500 HU in each plane of the first axis.
        file: File with the voxels; ``None`` if they are in memory.
        weight: Sampling frequency relative to other volumes.
    """

    shape: Triple
    spacing_mm: Spacing
    body_counts: NDArray[np.int64]
    file: BrickFile | None = None
    weight: float = 1.0
    _voxels: NDArray[np.int16] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, volume: Volume) -> StoredVolume:
        """Store a volume in memory, rounded to int16."""
        voxels = as_int16(volume.voxels)
        return cls(volume.grid.shape, volume.grid.spacing_mm, count_body(voxels), _voxels=voxels)

    def without_voxels(self) -> StoredVolume:
        """Return the volume without its voxels, from which no patch can be cut."""
        return replace(self, _voxels=None)

    @property
    def voxels(self) -> NDArray[np.int16]:
        """All HU ``(X, Y, Z)``, which are read from the file, if there is one.

        Raises:
            InputError: If the file is missing, truncated or cannot be read.
        """
        return self.box((0, 0, 0), self.shape)

    def box(self, low: Triple, high: Triple) -> NDArray[np.int16]:
        """Return the HU of the box ``low <= i < high``, which is not empty, inside the volume.

        Raises:
            InputError: If the file is missing, truncated or cannot be read.
        """
        if self._voxels is None:
            assert self.file is not None
            return self.file.read_box(low, high)
        (a, b, c), (d, e, f) = low, high
        return self._voxels[a:d, b:e, c:f]

    @property
    def body_count(self) -> int:
        """Number of voxels above -500 HU."""
        return int(self.body_counts.sum())

    def body_voxel(self, rank: int) -> NDArray[np.int64]:
        """Return the indices of the voxel above -500 HU with this rank in C order, from 0.

        Raises:
            InputError: If the file is missing, truncated or cannot be read.
        """
        x, inside = _place(self.body_counts, rank)
        body = self.voxels[x] > BODY_ABOVE_HU if self.file is None else self.file.read_body(x)
        rows = np.count_nonzero(body, axis=1)
        if inside >= rows.sum():
            assert self.file is not None
            raise self.file.unreadable("it is damaged")
        y, inside = _place(rows, inside)
        return np.array([x, y, np.flatnonzero(body[y])[inside]], np.int64)


def _place(counts: NDArray[np.integer], rank: int) -> tuple[int, int]:
    """Return the group that holds the item with this rank, and its rank in the group."""
    ends = np.cumsum(counts)
    group = int(np.searchsorted(ends, rank, side="right"))
    return group, rank - int(ends[group] - counts[group])


def as_int16(voxels: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int16]:
    """Round HU to int16 in C order; halves round to even, and other values are clipped."""
    if voxels.dtype == np.int16:
        return np.ascontiguousarray(voxels)
    limits = np.iinfo(np.int16)
    return np.rint(voxels).clip(limits.min, limits.max).astype(np.int16)


def count_body(voxels: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the number of voxels above -500 HU in each plane of the first axis."""
    return np.array([np.count_nonzero(p > BODY_ABOVE_HU) for p in voxels], np.int64)
