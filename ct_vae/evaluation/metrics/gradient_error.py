"""Errors of gradient magnitudes in a CT window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair
from ct_vae.evaluation.windows import Window
from ct_vae.masks import Mask


@dataclass(frozen=True)
class GradientError:
    """Gradients of a reconstruction compared with those of the original.

    Attributes:
        mae: Mean absolute difference of gradient magnitudes in HU per mm.
        ratio: Mean magnitude of the reconstruction divided by that of the original; below 1 if the
            reconstruction is smoother. ``None`` if the original is constant.
    """

    mae: float
    ratio: float | None


def gradient_errors(
    pair: Pair, window: Window, masks: Sequence[Mask], *, slab_voxels: int = SLAB_VOXELS
) -> list[GradientError | None]:
    """Compare gradient magnitudes of both volumes, clipped to a window.

    Gradients are central differences over the spacing, one-sided at borders, along every axis that
    has at least two voxels.

    Returns:
        One result per mask; ``None`` if the mask is empty.
    """
    images = pair.images
    views = [pair.slices(mask.voxels) for mask in masks]
    sums = np.zeros((len(masks), 4))
    for part in pair.slabs(slab_voxels // 2):
        steep = [gradient_magnitude(image, part, window, pair.spacing_mm) for image in images]
        apart = np.abs(steep[1] - steep[0])
        for row, view in zip(sums, views, strict=True):
            inside = view[part]
            row += [inside.sum(), *(values[inside].sum() for values in (apart, *steep))]
    return [_error(row) for row in sums.tolist()]


def _error(row: list[float]) -> GradientError | None:
    n, apart, before, after = row
    if not n:
        return None
    return GradientError(apart / n, after / before if before else None)


def gradient_magnitude(
    image: NDArray[Any], part: slice, window: Window, spacing_mm: Sequence[float]
) -> NDArray[np.float64]:
    """Return gradient magnitudes of a slab, clipped to a window, in HU per mm.

    Args:
        image: Volume with the slice axis first.
        part: Range of slices.
        window: CT window.
        spacing_mm: Spacing along the axes of the image.
    """
    first = max(0, part.start - 1)
    slab = image[first : part.stop + 1].astype(np.float64).clip(window.low, window.high)
    square = np.zeros(slab.shape)
    for axis, spacing in enumerate(spacing_mm):
        if slab.shape[axis] > 1:
            square += np.gradient(slab, spacing, axis=axis) ** 2
    inner: NDArray[np.float64] = np.sqrt(square[part.start - first : part.stop - first])
    return inner
