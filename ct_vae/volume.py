"""Voxels in Hounsfield units, inseparable from their grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import Grid

AIR_HU = -1024
# What is denser than this is no air; lungs are not.
BODY_ABOVE_HU = -500
# Written into every file of a decoded volume, and known again when folders are searched.
DERIVED_MARK = "lossy, derived, not for diagnosis"


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume.

    Attributes:
        voxels: ``(X, Y, Z)`` in HU, int16 or float32, in the source's own index order.
        grid: Where the voxels lie; ``grid.shape == voxels.shape``.
        outside_fov: ``(X, Y, Z)`` bool, true where the scanner saw nothing and the source held a
            padding value; ``None`` when there is no such voxel. Those voxels hold `AIR_HU`.
        source: Facts about the file that the volume came from, such as format and stored type;
            never a path or a name.
        derived: Whether a model made the voxels; files of such volumes say so.
        warnings: What was odd about the source and how it was settled, one line each.

    Raises:
        InputError: If shapes disagree or the voxels are of another type.
    """

    voxels: NDArray[np.int16] | NDArray[np.float32]
    grid: Grid
    outside_fov: NDArray[np.bool_] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    derived: bool = False

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise InputError(f"voxels {self.voxels.shape} do not fit a grid of {self.grid.shape}")
        if self.voxels.dtype not in (np.int16, np.float32):
            raise InputError(f"voxels are int16 or float32, got {self.voxels.dtype}")
        if self.outside_fov is not None and self.outside_fov.shape != self.grid.shape:
            raise InputError(f"mask {self.outside_fov.shape} does not fit {self.grid.shape}")
