"""Structural similarity of axial slices, within a window of Hounsfield units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.errors import InputError
from ct_vae.evaluation.masks import BoolArray, Mask
from ct_vae.evaluation.metrics import check_same_grid
from ct_vae.evaluation.windows import Window
from ct_vae.volume import Volume

_SIGMA = 1.5
# A Gaussian of 11 x 11 pixels.
_RADIUS = 5
_K1, _K2 = 0.01, 0.03


def axial_ssim(
    reference: Volume, reconstruction: Volume, window: Window, mask: Mask
) -> float | None:
    """Mean over a mask of the SSIM map of axial slices (Wang et al. 2004, eq. 13).

    Both volumes are clipped to the window, whose width is the data range. The Gaussian has 11 x 11
    pixels and a sigma of 1.5, the constants are 0.01 and 0.03, slices are mirrored at their
    border, and everything is computed in float64.

    Args:
        reference: The original.
        reconstruction: What is judged, on the same grid.
        window: Range of HU.
        mask: Voxels over which the map is averaged.

    Returns:
        From -1 to 1, 1 for equal volumes; ``None`` when the mask is empty.

    Raises:
        InputError: If the grids differ, or the mask has another shape.
    """
    check_same_grid(reference, reconstruction)
    if mask.voxels.shape != reference.grid.shape:
        raise InputError(
            f"the mask {mask.name} has {mask.voxels.shape} voxels, the original "
            f"{reference.grid.shape}",
            "give a mask on the original's grid",
        )
    inside = reference.grid.reorient_array(mask.voxels, "RAS").astype(np.bool_, copy=False)
    pair = [reference.grid.reorient_array(v.voxels, "RAS") for v in (reference, reconstruction)]
    total, count = 0.0, 0
    for z in np.flatnonzero(inside.any((0, 1))):
        chosen, box = _around(inside[..., z])
        images = np.stack([voxels[..., z][box] for voxels in pair]).astype(np.float64)
        shifted = images.clip(window.low, window.high) - window.low
        total += float(_map(shifted, window.width)[chosen].sum())
        count += int(chosen.sum())
    return total / count if count else None


def _around(mask: BoolArray) -> tuple[BoolArray, tuple[slice, slice]]:
    """The part of a slice that its masked pixels depend on, and where it lies."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = (
        slice(max(0, rows[0] - _RADIUS), rows[-1] + _RADIUS + 1),
        slice(max(0, columns[0] - _RADIUS), columns[-1] + _RADIUS + 1),
    )
    return mask[box], box


def _map(images: NDArray[np.float64], data_range: float) -> NDArray[np.float64]:
    x, y = images
    maps = np.stack([x, y, x * x, y * y, x * y])
    mean_x, mean_y, xx, yy, xy = ndimage.gaussian_filter(
        maps, _SIGMA, axes=(1, 2), mode="reflect", radius=_RADIUS
    )
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    spread = xx - mean_x**2 + yy - mean_y**2
    ssim: NDArray[np.float64] = alike / ((mean_x**2 + mean_y**2 + c1) * (spread + c2))
    return ssim
