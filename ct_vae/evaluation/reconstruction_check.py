"""Signs that a reconstruction is not in HU, although its original is.

Errors are measured all the same, for a bad model may do this; more often the file was written
without going back from model units, or without its rescale intercept.
"""

from __future__ import annotations

import numpy as np

from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.io.hounsfield.build import UNLIKE_HU

# No model that was trained on HU is off by as much in the median.
_SHIFT_HU = 300
# Nor are its values that much more, or less, spread out.
_SCALE = 5
_SAMPLES_PER_AXIS = 64


def reconstruction_warnings(pair: Pair) -> list[str]:
    """Compare where the values of both volumes lie.

    Args:
        pair: The reconstruction was read whatever its values look like.

    Returns:
        One line for each sign, none if the values may be HU.
    """
    reason = pair.reconstruction.source.get(UNLIKE_HU)
    told = [f"the reconstruction {reason}"] if reason else []
    a, b, c = (max(1, side // _SAMPLES_PER_AXIS) for side in pair.reference.grid.shape)
    original = pair.reference.voxels[::a, ::b, ::c].astype("f8")
    result = pair.reconstruction.voxels[::a, ::b, ::c].astype("f8")
    shift = float(np.median(result - original))
    if abs(shift) > _SHIFT_HU:
        told.append(f"the median difference of the reconstruction is {shift:+.0f} HU")
    spread, expected = float(result.std()), float(original.std())
    if expected and not 1 / _SCALE <= spread / expected <= _SCALE:
        told.append(
            f"the reconstruction has a standard deviation of {spread:.4g}, the original one of "
            f"{expected:.4g} HU"
        )
    return told
