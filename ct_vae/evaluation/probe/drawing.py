"""Drawing of shapes on a voxel grid with partial volume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError
from ct_vae.grid import Grid
from ct_vae.volume import Volume

FloatArray = NDArray[np.float64]
Inside = Callable[[FloatArray, FloatArray, FloatArray], NDArray[np.bool_]]
Point = tuple[float, float, float]

# Sampling points per voxel and axis: edges are accurate to 1/40 of a voxel.
_FINE = 12


def axes_mm(shape: tuple[int, ...], spacing_mm: float) -> list[FloatArray]:
    """Return the voxel centers along each axis in mm, relative to the center of the volume."""
    return [(np.arange(n, dtype=np.float64) - (n - 1) / 2) * spacing_mm for n in shape]


def box_around(
    shape: tuple[int, ...], spacing_mm: float, center: Point, reach: Point
) -> tuple[slice, slice, slice]:
    """Return the box of voxels whose centers are within ``reach`` of a point along each axis."""
    x, y, z = (
        slice(*np.searchsorted(axis, [c - r, c + r]).tolist())
        for axis, c, r in zip(axes_mm(shape, spacing_mm), center, reach, strict=True)
    )
    return x, y, z


class Canvas:
    """A volume to draw on; positions are in mm relative to its center.

    Args:
        size_mm: Extent along x, y and z.
        spacing_mm: Spacing of the isotropic voxels.
        hu: HU of the background.

    Raises:
        ConfigError: If the spacing is not in [0.3, 2] mm.
    """

    def __init__(self, size_mm: Point, spacing_mm: float, hu: float) -> None:
        if not 0.3 <= spacing_mm <= 2:
            raise ConfigError(f"the spacing of the probe must be in [0.3, 2] mm, got {spacing_mm}")
        self.spacing_mm = spacing_mm
        x, y, z = (round(mm / spacing_mm) for mm in size_mm)
        self.voxels: FloatArray = np.full((x, y, z), hu, dtype=np.float64)

    def add(
        self, inside: Inside, hu: float, center: Point, reach: Point, *, flat: bool = True
    ) -> None:
        """Fill a shape with HU, weighted by the covered fraction of each voxel.

        Args:
            inside: Function that returns True for positions inside the shape, relative to
                ``center``.
            hu: HU of the shape.
            center: Center of the shape in mm.
            reach: Extent of the shape from its center in mm.
            flat: True if the shape is constant along z.
        """
        wide = (reach[0] + self.spacing_mm, reach[1] + self.spacing_mm, reach[2] + self.spacing_mm)
        box = box_around(self.voxels.shape, self.spacing_mm, center, wide)
        offsets = ((np.arange(_FINE) + 0.5) / _FINE - 0.5) * self.spacing_mm
        axes = axes_mm(self.voxels.shape, self.spacing_mm)
        x, y, z = (axis[s] - c for axis, s, c in zip(axes, box, center, strict=True))
        share: FloatArray = np.zeros((len(x), len(y), 1 if flat else len(z)))
        for dz in offsets[:1] if flat else offsets:
            depth = np.zeros(1) if flat else z + dz
            for dx in offsets:
                for dy in offsets:
                    share += inside(
                        (x + dx)[:, None, None], (y + dy)[None, :, None], depth[None, None, :]
                    )
        share /= _FINE**2 if flat else _FINE**3
        self.voxels[box] += share * (hu - self.voxels[box])

    def volume(self) -> Volume:
        """Return the drawn volume as int16 HU."""
        voxels = np.rint(self.voxels).astype(np.int16)
        return Volume(voxels, Grid(voxels.shape, np.diag([*[self.spacing_mm] * 3, 1.0])))
