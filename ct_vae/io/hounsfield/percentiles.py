"""Percentiles of HU from a histogram, without another copy of the volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ct_vae.volume import Volume

_LOWEST, _HIGHEST = -(1 << 15), (1 << 15) - 1
_SLAB_VOXELS = 1 << 20


def hu_percentiles(volume: Volume, percents: Sequence[float]) -> tuple[int, ...] | None:
    """Return percentiles of the voxels inside the field of view, in whole HU.

    Values beyond int16 are clipped to its range.

    Args:
        volume: The volume.
        percents: Percentages from 0 to 100.

    Returns:
        One value per percentage, or ``None`` if no voxel is inside the field of view.
    """
    counts = np.zeros(_HIGHEST - _LOWEST + 1, np.int64)
    plane = max(1, volume.voxels[:, :, 0].size)
    step = max(1, _SLAB_VOXELS // plane)
    for start in range(0, volume.voxels.shape[2], step):
        slab = volume.voxels[:, :, start : start + step]
        if volume.outside_fov is not None:
            slab = slab[~volume.outside_fov[:, :, start : start + step]]
        whole = np.clip(np.rint(slab), _LOWEST, _HIGHEST).astype(np.int64) - _LOWEST
        counts += np.bincount(whole.ravel(order="K"), minlength=len(counts))
    below = np.cumsum(counts)
    if not below[-1]:
        return None
    ranks = np.maximum(1, np.ceil(below[-1] * np.asarray(percents) / 100))
    return tuple((np.searchsorted(below, ranks) + _LOWEST).tolist())
