"""Structural similarity (SSIM) in a CT window, of volumes and of axial slices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair, slabs_of
from ct_vae.evaluation.windows import Window
from ct_vae.masks import BoolArray, Mask, check_masks
from ct_vae.volume import Volume

FloatArray = NDArray[np.float64]

SIGMA = 1.5
# A Gaussian of 11 voxels along each axis.
RADIUS = 5
K1, K2 = 0.01, 0.03
# More threads would need too much memory next to a large volume.
_MOST_THREADS = 4

_TAPS = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SIGMA) ** 2)
_TAPS /= _TAPS.sum()


@dataclass(frozen=True)
class Similarity:
    """Means of SSIM maps over a mask, in [-1, 1]; ``None`` if not computed.

    Attributes:
        volume: SSIM with a 3-D Gaussian.
        axial: SSIM with a 2-D Gaussian in axial slices.
        contrast: 3-D SSIM without the luminance term (contrast times structure).
    """

    volume: float | None
    axial: float | None
    contrast: float | None


def axial_ssim(
    reference: Volume, reconstruction: Volume, window: Window, mask: Mask
) -> float | None:
    """Compute the mean SSIM of axial slices over a mask; see `similarities`.

    Returns:
        Value in [-1, 1], 1 for equal volumes; ``None`` if the mask is empty.

    Raises:
        InputError: If the grids differ, or the mask has another shape.
    """
    pair = Pair(reference, reconstruction)
    (found,) = similarities(pair, window, [mask], volume=False)
    return found.axial


def similarities(
    pair: Pair,
    window: Window,
    masks: Sequence[Mask],
    *,
    volume: bool = True,
    axial: bool = True,
    slab_voxels: int = SLAB_VOXELS,
) -> list[Similarity]:
    """Compute the mean SSIM of a pair over each mask (Wang et al. 2004, eq. 13), in float64.

    Both volumes are clipped to the window and shifted so that it starts at 0; the data range is the
    width of the window. The Gaussian has 11 voxels along each axis and a sigma of 1.5 voxels; the
    constants are K1 = 0.01 and K2 = 0.03; volumes are mirrored at their borders.

    Args:
        pair: Original and reconstruction.
        window: CT window.
        masks: Masks to average over.
        volume: True to compute the 3-D SSIM.
        axial: True to compute the SSIM of axial slices.
        slab_voxels: Voxels converted to float64 at once; affects memory, not results.

    Raises:
        InputError: If a mask has another shape.
    """
    check_masks(pair.reference, list(masks))
    views = [pair.slices(mask.voxels) for mask in masks]
    return map_means(
        pair.images, (window.low, window.high), views, (volume, axial), slab_voxels=slab_voxels
    )


def map_means(
    images: tuple[NDArray[Any], NDArray[Any]],
    limits: tuple[float, float],
    masks: Sequence[BoolArray],
    wanted: tuple[bool, bool],
    *,
    slab_voxels: int = SLAB_VOXELS,
) -> list[Similarity]:
    """Compute the means of `similarities` for arrays whose first axis is the slice axis."""
    box = _box(masks)
    if box is None:
        return [Similarity(None, None, None) for _ in masks]
    images = (images[0][box], images[1][box])
    masks = [mask[box] for mask in masks]

    def work(part: slice) -> FloatArray:
        return _sums_of(images, limits, masks, wanted, part)

    with ThreadPoolExecutor(min(_MOST_THREADS, len(os.sched_getaffinity(0)))) as pool:
        sums = sum(pool.map(work, slabs_of(images[0].shape, slab_voxels)))
    assert isinstance(sums, np.ndarray)
    return [_means(row, wanted) for row in sums.tolist()]


def _means(row: list[float], wanted: tuple[bool, bool]) -> Similarity:
    n, volume, contrast, axial = row
    if not n:
        return Similarity(None, None, None)
    return Similarity(
        volume / n if wanted[0] else None,
        axial / n if wanted[1] else None,
        contrast / n if wanted[0] else None,
    )


def _box(masks: Sequence[BoolArray]) -> tuple[slice, ...] | None:
    """Return the region that the maps in the masks depend on; ``None`` if all masks are empty."""
    ranges: list[slice] = []
    for axis in range(3):
        found = np.zeros(masks[0].shape[axis], dtype=np.bool_)
        others = tuple(k for k in range(3) if k != axis)
        for mask in masks:
            found |= mask.any(axis=others)
        places = np.flatnonzero(found)
        if not places.size:
            return None
        ranges.append(slice(max(0, int(places[0]) - RADIUS), int(places[-1]) + RADIUS + 1))
    return tuple(ranges)


def _sums_of(
    images: tuple[NDArray[Any], NDArray[Any]],
    limits: tuple[float, float],
    masks: Sequence[BoolArray],
    wanted: tuple[bool, bool],
    part: slice,
) -> FloatArray:
    """Return number of voxels and sums of SSIM, contrast and axial SSIM per mask, in a slab."""
    first = max(0, part.start - RADIUS) if wanted[0] else part.start
    last = part.stop + RADIUS if wanted[0] else part.stop
    inner = slice(part.start - first, part.stop - first)
    chosen = [mask[part] for mask in masks]
    sums = np.zeros((len(masks), 4))
    sums[:, 0] = [np.count_nonzero(mask) for mask in chosen]
    if not sums.any():
        return sums
    moments = _moments(images, limits, slice(first, last))
    for moment in moments:
        _smooth(moment, (1, 2))
    data_range = limits[1] - limits[0]
    if wanted[1]:
        luminance, contrast = _terms([moment[inner] for moment in moments], data_range)
        luminance *= contrast
        sums[:, 3] = [_sum(luminance, mask) for mask in chosen]
    if wanted[0]:
        for moment in moments:
            _smooth(moment, (0,))
        luminance, contrast = _terms([moment[inner] for moment in moments], data_range)
        sums[:, 2] = [_sum(contrast, mask) for mask in chosen]
        luminance *= contrast
        sums[:, 1] = [_sum(luminance, mask) for mask in chosen]
    return sums


def _moments(
    images: tuple[NDArray[Any], NDArray[Any]], limits: tuple[float, float], part: slice
) -> list[FloatArray]:
    """Return both images, the sum of their squares and their product, before smoothing."""
    x, y = (_shifted(image[part], limits) for image in images)
    squares = x * x
    product = y * y
    squares += product
    np.multiply(x, y, out=product)
    return [x, y, squares, product]


def _shifted(image: NDArray[Any], limits: tuple[float, float]) -> FloatArray:
    values: FloatArray = image.astype(np.float64, order="C")
    np.clip(values, *limits, out=values)
    values -= limits[0]
    return values


def _smooth(array: FloatArray, axes: Sequence[int]) -> None:
    for axis in axes:
        ndimage.correlate1d(array, _TAPS, axis, output=array, mode="reflect")


def _terms(moments: Sequence[FloatArray], data_range: float) -> tuple[FloatArray, FloatArray]:
    """Return the luminance term, and contrast times structure."""
    mean_x, mean_y, squares, product = moments
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    both = mean_x * mean_y
    means = mean_x * mean_x
    means += mean_y * mean_y
    # Twice the covariance over the sum of the variances.
    contrast = product - both
    contrast *= 2
    contrast += c2
    spread = squares - means
    spread += c2
    contrast /= spread
    both *= 2
    both += c1
    means += c1
    both /= means
    return both, contrast


def _sum(values: FloatArray, mask: BoolArray) -> float:
    return float(values.sum() if mask.all() else values[mask].sum())
