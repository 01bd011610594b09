"""Errors of a reconstruction in Hounsfield units, per window and mask."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.evaluation.masks import BoolArray, Mask, body_mask, field_of_view
from ct_vae.evaluation.windows import WINDOWS, Window
from ct_vae.volume import Volume

DEFAULT_WINDOWS = (WINDOWS["full"], WINDOWS["soft_tissue"])
# A slab is held in float64 a few times over.
_SLAB_VOXELS = 2_000_000
# Headers keep an affine in float32, about seven digits.
_SAME_PLACE_MM = 1e-2


@dataclass(frozen=True)
class MetricRow:
    """Errors of one volume in one window and one mask.

    Both volumes are clipped to the window first, so an error outside it does not count.

    Attributes:
        case: The caller's name for the volume.
        what: What is compared with the original, such as ``reconstruction`` or ``mean``.
        window: Name of the window.
        mask: Name of the mask.
        n: Number of voxels.
        mae: Mean absolute error in HU; this and all below are ``None`` when there is no voxel.
        rmse: Root mean square error in HU.
        bias: Mean of reconstruction minus original, in HU.
        psnr: ``20 log10(data_range / rmse)`` in dB; ``None`` when there is no error.
        data_range: The window's width in HU.
        note: What was unusual about the mask; empty when nothing was.
    """

    case: str
    what: str
    window: str
    mask: str
    n: int
    mae: float | None
    rmse: float | None
    bias: float | None
    psnr: float | None
    data_range: float
    note: str = ""


def evaluate_pair(
    reference: Volume,
    reconstruction: Volume,
    windows: Sequence[Window] = DEFAULT_WINDOWS,
    *,
    case: str,
    what: str = "reconstruction",
    masks: Sequence[Mask] | None = None,
    slab_voxels: int = _SLAB_VOXELS,
) -> list[MetricRow]:
    """Compare a reconstruction with its original, voxel by voxel.

    Args:
        reference: The original.
        reconstruction: What is judged, on the same grid.
        windows: HU ranges; one row for each with each mask.
        case: Name of the case in the rows; never a path or a patient's name.
        what: Name of the thing judged in the rows.
        masks: Where to count; by default the body and the field of view of the original.
        slab_voxels: Voxels taken to float64 at once; changes memory, not results.

    Raises:
        InputError: If grids differ, a mask has another shape, or a value is not finite.
    """
    check_same_grid(reference, reconstruction)
    if masks is None:
        masks = (body_mask(reference), field_of_view(reference))
    _check_masks(reference, masks)
    sums = np.zeros((len(windows), len(masks), 4))
    for part in _slabs(reference.grid.shape, slab_voxels):
        original = reference.voxels[part].astype(np.float64)
        result = reconstruction.voxels[part].astype(np.float64)
        for w, window in enumerate(windows):
            error = result.clip(window.low, window.high) - original.clip(window.low, window.high)
            for m, mask in enumerate(masks):
                sums[w, m] += _sums(error, mask.voxels[part])
    if not np.isfinite(sums).all():
        raise InputError(f"original or {what} of {case} holds values that are not finite")
    return [
        _row(sums[w, m], (case, what), window, mask)
        for w, window in enumerate(windows)
        for m, mask in enumerate(masks)
    ]


def check_same_grid(reference: Volume, reconstruction: Volume) -> None:
    """Refuse two volumes that cannot be compared voxel by voxel.

    Raises:
        InputError: If shapes differ or corners lie more than 0.01 mm apart.
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
            f"original and reconstruction lie up to {apart:.4g} mm apart "
            f"(axes {a.axcodes} and {b.axcodes}, spacing {_mm(a.spacing_mm)} and "
            f"{_mm(b.spacing_mm)})",
            "decode onto the source grid before comparing",
        )


def _sums(error: NDArray[np.float64], mask: BoolArray) -> tuple[float, float, float, float]:
    inside = error[mask]
    return inside.size, float(np.abs(inside).sum()), float(inside @ inside), float(inside.sum())


def _row(
    sums: NDArray[np.float64], names: tuple[str, str], window: Window, mask: Mask
) -> MetricRow:
    n, absolute, square, signed = sums.tolist()
    case, what = names
    where = (case, what, window.name, mask.name, int(n))
    if not n:
        return MetricRow(*where, None, None, None, None, window.width, mask.note)
    rmse = math.sqrt(square / n)
    psnr = 20 * math.log10(window.width / rmse) if rmse else None
    return MetricRow(*where, absolute / n, rmse, signed / n, psnr, window.width, mask.note)


def _slabs(shape: Sequence[int], slab_voxels: int) -> Iterator[slice]:
    thick = max(1, slab_voxels // (shape[1] * shape[2]))
    for first in range(0, shape[0], thick):
        yield slice(first, first + thick)


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{s:.4g}" for s in spacing) + " mm"


def _check_masks(reference: Volume, masks: Sequence[Mask]) -> None:
    for mask in masks:
        if mask.voxels.shape != reference.grid.shape:
            raise InputError(
                f"the mask {mask.name} has {mask.voxels.shape} voxels, the original "
                f"{reference.grid.shape}",
                "give a mask on the original's grid",
            )
