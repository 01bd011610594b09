"""The voxels of one training case, in memory or in a file that is mapped for each patch."""

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
    """Int16 HU and what patches need to know of them.

    Attributes:
        shape: Sides in voxels.
        spacing_mm: Distance of voxels along each axis.
        body_counts: ``(X,)`` number of voxels above -500 HU in each plane of the first axis.
        path: File that holds the voxels, as ``.npy`` in C order; ``None`` if they are in memory.
        offset: Where they begin in it, in bytes.
        weight: How often patches are taken from it, relative to other volumes.
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
        """Keep a volume in memory, rounded to int16."""
        voxels = as_int16(volume.voxels)
        return cls(volume.grid.shape, volume.grid.spacing_mm, count_body(voxels), _voxels=voxels)

    def without_voxels(self) -> StoredVolume:
        """The same, of which no patch can be cut."""
        return replace(self, _voxels=None)

    @property
    def voxels(self) -> NDArray[np.int16]:
        """``(X, Y, Z)`` HU, read-only.

        A file is mapped anew each time: a map that stays open holds a file descriptor, and a run
        may have more cases than descriptors.

        Raises:
            InputError: If the file is gone or has been cut.
        """
        if self._voxels is not None:
            return self._voxels
        assert self.path is not None
        try:
            return np.memmap(self.path, "<i2", "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: this entry of the cache cannot be read any more: {error}",
                "start again, and it is made anew",
            ) from error

    @property
    def body_count(self) -> int:
        """Number of voxels above -500 HU."""
        return int(self.body_counts.sum())

    def body_voxel(self, rank: int) -> NDArray[np.int64]:
        """Indices of one voxel above -500 HU, counted from 0 in C order."""
        before = np.cumsum(self.body_counts)
        plane = int(np.searchsorted(before, rank, side="right"))
        inside = rank - int(before[plane] - self.body_counts[plane])
        section = self.voxels[plane]
        flat = np.flatnonzero(section > BODY_ABOVE_HU)[inside]
        return np.array([plane, *np.unravel_index(flat, section.shape)], np.int64)


def as_int16(voxels: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.int16]:
    """HU rounded to whole numbers, in C order; halves go to even, and what is beyond is clipped."""
    if voxels.dtype == np.int16:
        return np.ascontiguousarray(voxels)
    limits = np.iinfo(np.int16)
    return np.rint(voxels).clip(limits.min, limits.max).astype(np.int16)


def count_body(voxels: NDArray[np.int16]) -> NDArray[np.int64]:
    """Number of voxels above -500 HU in each plane of the first axis."""
    return np.array([np.count_nonzero(p > BODY_ABOVE_HU) for p in voxels], np.int64)
