"""A pair of original and reconstruction, accessed in slabs of axial slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import Triple
from ct_vae.masks import axial_axis
from ct_vae.volume import Volume

# Each thread needs about a dozen float64 copies of a slab.
SLAB_VOXELS = 4_000_000
# Headers store the affine in float32, with about seven digits.
_SAME_PLACE_MM = 1e-2


@dataclass(frozen=True, eq=False)
class Pair:
    """Original and reconstruction on the same grid, with the slice axis first.

    Attributes:
        reference: Original volume.
        reconstruction: Reconstruction.

    Raises:
        InputError: If the grids differ.
    """

    reference: Volume
    reconstruction: Volume

    def __post_init__(self) -> None:
        check_same_grid(self.reference, self.reconstruction)

    @cached_property
    def axes(self) -> Triple:
        """The slice axis, then the two others in memory order."""
        axial = axial_axis(self.reference)
        strides = self.reference.voxels.strides
        a, b = sorted((k for k in range(3) if k != axial), key=lambda k: -strides[k])
        return axial, a, b

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances between slices, rows and columns in mm."""
        spacing = self.reference.grid.spacing_mm
        a, b, c = (spacing[axis] for axis in self.axes)
        return a, b, c

    @property
    def images(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both volumes as ``(slices, rows, columns)``, original first, without a copy."""
        return self.slices(self.reference.voxels), self.slices(self.reconstruction.voxels)

    def slices(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """An array on the grid as ``(slices, rows, columns)``, without a copy."""
        return voxels.transpose(self.axes)

    def slabs(self, slab_voxels: int = SLAB_VOXELS) -> Iterator[slice]:
        """Yield consecutive ranges of slices that cover the volume."""
        return slabs_of(self.images[0].shape, slab_voxels)


def slabs_of(shape: tuple[int, ...], slab_voxels: int = SLAB_VOXELS) -> Iterator[slice]:
    """Yield consecutive ranges of the first axis with about ``slab_voxels`` voxels each."""
    thick = max(1, slab_voxels // (shape[1] * shape[2]))
    for first in range(0, shape[0], thick):
        yield slice(first, min(first + thick, shape[0]))


def check_same_grid(reference: Volume, reconstruction: Volume) -> None:
    """Check that two volumes can be compared voxel by voxel.

    Raises:
        InputError: If the shapes differ or corners are more than 0.01 mm apart.
    """
    a, b = reference.grid, reconstruction.grid
    if a.shape != b.shape:
        raise InputError(
            f"the original has {a.shape} voxels, the reconstruction {b.shape}",
            "decode onto the source grid before comparing",
        )
    apart = a.distance_mm(b)
    if apart > _SAME_PLACE_MM:
        raise InputError(
            f"original and reconstruction are up to {apart:.4g} mm apart "
            f"(axes {a.axcodes} and {b.axcodes}, spacing {_mm(a.spacing_mm)} and "
            f"{_mm(b.spacing_mm)})",
            "decode onto the source grid before comparing",
        )


def _mm(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{s:.4g}" for s in spacing) + " mm"
