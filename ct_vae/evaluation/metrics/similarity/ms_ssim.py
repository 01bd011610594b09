"""Multi-scale structural similarity (MS-SSIM) in a CT window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair, slabs_of
from ct_vae.evaluation.metrics.similarity.ssim import RADIUS, Similarity, map_means
from ct_vae.evaluation.windows import Window
from ct_vae.masks import Mask, check_masks

# Wang, Simoncelli and Bovik 2003, section 4.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SIDE = 2 * RADIUS + 1

FloatArray = NDArray[np.float64]


def scales_of(shape: Sequence[int]) -> int:
    """Return the number of scales, 0 to 5, at which each axis has at least 11 voxels."""
    room = min(shape)
    return next((s for s in range(len(WEIGHTS), 0, -1) if room >= _SIDE * 2 ** (s - 1)), 0)


def multi_scale_ssim(
    pair: Pair,
    window: Window,
    masks: Sequence[Mask],
    *,
    scales: int,
    luminance_everywhere: bool = False,
    slab_voxels: int = SLAB_VOXELS,
) -> list[float | None]:
    """Compute MS-SSIM in each mask (Wang, Simoncelli and Bovik 2003, eq. 7), in float64.

    At each scale, the SSIM map is averaged over the mask. Volumes are then downsampled by means of
    2 x 2 x 2 voxels; an odd last slice is ignored, and a voxel is in the mask if at least half of
    its eight voxels were. With fewer than five scales, the first weights are normalized to a sum of
    1. Negative means count as 0.

    Args:
        pair: Original and reconstruction.
        window: CT window; both volumes are clipped to it.
        masks: Masks to average over.
        scales: Number of scales, at most `scales_of` the shape.
        luminance_everywhere: True to use the luminance term at each scale instead of only at the
            coarsest.
        slab_voxels: Voxels converted to float64 at once.

    Returns:
        Value in [0, 1] per mask; ``None`` if the mask is empty at a scale.

    Raises:
        InputError: If a mask has another shape.
    """
    check_masks(pair.reference, list(masks))
    images = pair.images
    views = [pair.slices(mask.voxels) for mask in masks]
    limits = (window.low, window.high)
    found: list[list[Similarity]] = []
    for scale in range(scales):
        found.append(map_means(images, limits, views, (True, False), slab_voxels=slab_voxels))
        if scale + 1 < scales:
            images = _halved(images[0], limits), _halved(images[1], limits)
            views = [_halved(view, (0, 1)) >= 0.5 for view in views]
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    return [_combined(each, weights, luminance_everywhere) for each in zip(*found, strict=True)]


def _combined(
    scales: Sequence[Similarity], weights: NDArray[np.float64], luminance_everywhere: bool
) -> float | None:
    means = [s.volume if luminance_everywhere else s.contrast for s in scales]
    means[-1] = scales[-1].volume
    defined = [max(mean, 0.0) for mean in means if mean is not None]
    if len(defined) < len(scales):
        return None
    return float(np.prod(np.array(defined) ** weights))


def _halved(image: NDArray[np.generic], limits: tuple[float, float]) -> FloatArray:
    """Downsample by means of 2 x 2 x 2 voxels after clipping to the limits."""
    a, b, c = (n // 2 for n in image.shape)
    small = np.empty((a, b, c))
    for part in slabs_of(small.shape, SLAB_VOXELS // 8):
        slab = image[2 * part.start : 2 * part.stop, : 2 * b, : 2 * c]
        clipped = slab.astype(np.float64).clip(*limits)
        small[part] = clipped.reshape(-1, 2, b, 2, c, 2).mean(axis=(1, 3, 5))
    return small
