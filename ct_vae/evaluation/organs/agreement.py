"""Agreement of two segmentations, and the mean HU of each organ in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.masks import BoolArray
from ct_vae.volume import Volume

_PERCENTILE = 95
_MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class OrganAgreement:
    """One organ in the original and in the reconstruction.

    Attributes:
        organ: Name of the label.
        dice: Dice coefficient of both segmentations, 0 to 1.
        hd95_mm: 95th percentile of the distances between both surfaces in mm; ``None`` if the organ
            is missing in one of them.
        volume_ml: Volume in the segmentation of the original.
        volume_ml_reconstruction: Volume in the segmentation of the reconstruction.
        mean_hu: Mean HU of the original in its segmentation; ``None`` if the organ is missing.
        mean_hu_reconstruction: Mean HU of the reconstruction in its own segmentation.
    """

    organ: str
    dice: float
    hd95_mm: float | None
    volume_ml: float
    volume_ml_reconstruction: float
    mean_hu: float | None
    mean_hu_reconstruction: float | None


def organ_agreements(
    pair: tuple[Volume, Volume], labels: tuple[Volume, Volume], names: Mapping[int, str]
) -> list[OrganAgreement]:
    """Compare every label that occurs in one of two label maps; 0 is background.

    Args:
        pair: Original and reconstruction in HU.
        labels: Label maps of both, on the same grid.
        names: Names of the labels; others are called ``label_`` and their number.
    """
    values = np.union1d(*(np.unique(each.voxels) for each in labels)).astype(np.int64)
    return [
        _agreement(names.get(value, f"label_{value}"), pair, labels, value)
        for value in values.tolist()
        if value
    ]


def hausdorff95_mm(a: BoolArray, b: BoolArray, spacing_mm: Sequence[float]) -> float | None:
    """Return the 95th percentile Hausdorff distance of two masks in mm.

    It is the larger one of the 95th percentiles of the distances from the surface voxels of a mask
    to the nearest surface voxel of the other mask. Surface voxels have a neighbor outside the mask,
    by a face. Returns ``None`` if a mask is empty.
    """
    if not (a.any() and b.any()):
        return None
    box = _bounding_box(a | b)
    edges = [_surface(mask[box]) for mask in (a, b)]
    directed = []
    for own, other in (edges, edges[::-1]):
        distances = ndimage.distance_transform_edt(~other, sampling=spacing_mm)
        directed.append(float(np.percentile(np.asarray(distances)[own], _PERCENTILE)))
    return max(directed)


def _agreement(
    organ: str, pair: tuple[Volume, Volume], labels: tuple[Volume, Volume], value: int
) -> OrganAgreement:
    masks = [each.voxels == value for each in labels]
    grid = labels[0].grid
    a, b = (int(np.count_nonzero(mask)) for mask in masks)
    both = int(np.count_nonzero(masks[0] & masks[1]))
    voxel_ml = float(np.prod(grid.spacing_mm)) / _MM3_PER_ML
    means = [
        float(volume.voxels[mask].mean(dtype=np.float64)) if mask.any() else None
        for volume, mask in zip(pair, masks, strict=True)
    ]
    return OrganAgreement(
        organ,
        2 * both / (a + b),
        hausdorff95_mm(masks[0], masks[1], grid.spacing_mm),
        a * voxel_ml,
        b * voxel_ml,
        means[0],
        means[1],
    )


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box that contains a mask which is not empty."""
    (box,) = ndimage.find_objects(mask.astype(np.uint8))
    assert box is not None
    return tuple(box)


def _surface(mask: BoolArray) -> BoolArray:
    surface: BoolArray = mask & ~ndimage.binary_erosion(mask)
    return surface
