"""Error of a baseline that several tests compute."""

import numpy as np


def rmse(volume, baseline) -> float:
    return float(np.sqrt(((baseline.volume.voxels.astype(float) - volume.voxels) ** 2).mean()))
