"""Linear regression of reconstructed on original HU; the ideal slope is 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ct_vae.evaluation.metrics.pair import SLAB_VOXELS, Pair
from ct_vae.evaluation.windows import Window
from ct_vae.masks import Mask


@dataclass(frozen=True)
class Linearity:
    """The line ``reconstruction = slope * original + intercept``, intercept in HU."""

    slope: float
    intercept: float


def linearities(
    pair: Pair, window: Window, masks: Sequence[Mask], *, slab_voxels: int = SLAB_VOXELS
) -> list[Linearity | None]:
    """Fit a least-squares line to the voxels whose original value is in a window, unclipped.

    Returns:
        One result per mask; ``None`` if the original has fewer than two different values.
    """
    reference, result = pair.images
    views = [pair.slices(mask.voxels) for mask in masks]
    sums = np.zeros((len(masks), 5))
    for part in pair.slabs(slab_voxels):
        # Relative to the center of the window, to avoid cancellation.
        x, y = (image[part].astype(np.float64) - window.level for image in (reference, result))
        near = np.abs(x) <= window.width / 2
        for row, view in zip(sums, views, strict=True):
            inside = view[part] & near
            a, b = x[inside], y[inside]
            row += [a.size, a.sum(), b.sum(), a @ a, a @ b]
    return [_line(row, window.level) for row in sums.tolist()]


def _line(row: list[float], level: float) -> Linearity | None:
    n, x, y, xx, xy = row
    spread = n * xx - x * x
    # Rounding errors of a constant are not a spread.
    if spread <= 1e-9 * n * max(xx, 1.0):
        return None
    slope = (n * xy - x * y) / spread
    return Linearity(slope, (y - slope * x) / n + level * (1 - slope))
