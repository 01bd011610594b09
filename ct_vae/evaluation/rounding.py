"""Rounding of reconstructions to the whole HU that files store."""

from __future__ import annotations

import numpy as np

from ct_vae.errors import InputError
from ct_vae.volume import Volume

_INT16 = np.iinfo(np.int16)


def stored(volume: Volume) -> Volume:
    """Round a volume to whole HU as in int16 files; halves are rounded to even.

    Raises:
        InputError: If a voxel is not finite or exceeds int16.
    """
    if volume.voxels.dtype == np.int16:
        return volume
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    # The comparison is also false for NaN.
    if not (_INT16.min <= low and high <= _INT16.max):
        raise InputError(
            f"the reconstruction has voxels from {low:g} to {high:g} HU, beyond int16",
            "check that the model is trained, and on HU",
        )
    return Volume(np.rint(volume.voxels).astype(np.int16), volume.grid, volume.outside_fov)
