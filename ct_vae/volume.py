"""CT volume: voxels in Hounsfield units together with their grid."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import Grid
from ct_vae.slice_images import preview_png

AIR_HU = -1024
# Voxels above this value belong to the body, except for the lungs.
BODY_ABOVE_HU = -500
# Written into every file of a decoded volume; searches of folders recognize such files by it.
DERIVED_MARK = "lossy, derived, not for diagnosis"
# Item of `Volume.source`: model, precision and tiling with which a volume was decoded, as texts.
DECODING = "decoding"

_SLAB_VOXELS = 1 << 20


@dataclass(frozen=True, eq=False)
class Volume:
    """CT volume in Hounsfield units with its geometry.

    Attributes:
        voxels: Array ``(X, Y, Z)`` in HU, int16 or float32, in the index order of the source.
        grid: Positions of the voxels; ``grid.shape == voxels.shape``.
        outside_fov: Boolean mask ``(X, Y, Z)``, true outside the scanner's field of view, where the
            source had a padding value and ``voxels`` is `AIR_HU`; ``None`` if there is no such
            voxel.
        source: Facts about the source file, such as format and stored type; never a path or a name.
            The item `DECODING` of a decoded volume describes how it was computed.
        warnings: Irregularities of the source and how they were handled, one line each.
        derived: True if a model made the voxels; files of such volumes are marked accordingly.

    Raises:
        InputError: If shapes are inconsistent or the voxels have another type.
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

    def __repr__(self) -> str:
        low, high = self.voxels.min(), self.voxels.max()
        parts = [str(self.grid), f"{low:g} to {high:g} HU", str(self.voxels.dtype)]
        if self.outside_fov is not None:
            parts.append(f"{np.mean(self.outside_fov):.0%} outside the field of view")
        if self.derived:
            parts.append("derived")
        if self.warnings:
            parts.append(f"warnings: {len(self.warnings)}")
        return f"Volume({', '.join(parts)})"

    def _repr_png_(self) -> bytes:
        """Return an image of three slices, for notebooks."""
        return preview_png(self.voxels, self.grid)

    def _repr_html_(self) -> str:
        """Return three slices with a caption, for notebooks."""
        picture = base64.b64encode(self._repr_png_()).decode()
        text = escape(repr(self))
        return (
            f'<figure style="margin: 0"><img style="max-width: 100%" alt="Slices of {text}" '
            f'src="data:image/png;base64,{picture}"><figcaption>{text}</figcaption></figure>'
        )


def volume_sha256(volume: Volume) -> str:
    """SHA-256 over shape, affine and voxel values: equal for equal int16 and float32 volumes.

    Values are taken as little-endian float32, first axis fastest, and the affine as float64.
    """
    digest = hashlib.sha256(repr(volume.grid.shape).encode())
    # Adding zero makes -0.0 and 0.0 the same bytes.
    digest.update((volume.grid.affine.astype("<f8") + 0.0).tobytes())
    voxels = volume.voxels
    step = max(1, _SLAB_VOXELS // max(1, voxels[:, :, 0].size))
    for start in range(0, voxels.shape[2], step):
        slab = voxels[:, :, start : start + step].astype("<f4")
        slab += np.float32(0)
        digest.update(slab.tobytes(order="F"))
    return digest.hexdigest()
