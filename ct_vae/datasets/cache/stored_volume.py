"""Voxels of a training case, in memory or in a file that is mapped for each patch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
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
        path: ``.npy`` file with the voxels in C order; ``None`` if they are in memory.
        offset: First byte of the voxels in the file.
        weight: Sampling frequency relative to other volumes.
    """

    shape: Triple
    spacing_mm: Spacing
    body_counts: NDArray[np.int64]
    path: Path | None = None
    offset: int = 0
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
        """``(X, Y, Z)`` HU, read-only.

        A file is mapped at each access: open maps take file descriptors, and a run may have more
        cases than descriptors.

        Raises:
            InputError: If the file is missing or truncated.
        """
        if self._voxels is not None:
            return self._voxels
        assert self.path is not None
        try:
            return np.memmap(self.path, "<i2", "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: this entry of the cache can no longer be read: {error}",
                "run the same command again to restore it",
            ) from error

    @property
    def body_count(self) -> int:
        """Number of voxels above -500 HU."""
        return int(self.body_counts.sum())

    def body_voxel(self, rank: int) -> NDArray[np.int64]:
        """Return the indices of the voxel above -500 HU with this rank in C order, from 0."""
        before = np.cumsum(self.body_counts)
        plane = int(np.searchsorted(before, rank, side="right"))
        inside = rank - int(before[plane] - self.body_counts[plane])
        section = self.voxels[plane]
        flat = np.flatnonzero(section > BODY_ABOVE_HU)[inside]
        return np.array([plane, *np.unravel_index(flat, section.shape)], np.int64)


def as_int16(voxels: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int16]:
    """Round HU to int16 in C order; halves round to even, and other values are clipped."""
    if voxels.dtype == np.int16:
        return np.ascontiguousarray(voxels)
    limits = np.iinfo(np.int16)
    return np.rint(voxels).clip(limits.min, limits.max).astype(np.int16)


def count_body(voxels: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the number of voxels above -500 HU in each plane of the first axis."""
    return np.array([np.count_nonzero(p > BODY_ABOVE_HU) for p in voxels], np.int64)
