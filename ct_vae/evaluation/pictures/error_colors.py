"""Colors and scale of signed errors, the same in reports, panels and validation pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.colors import ListedColormap

# Errors of this size and larger have the full color.
ERROR_HU = 100.0
# Gray level at zero, and what the full color adds to it. `viewer.js` has the same numbers.
NO_ERROR = 24
HIGH = np.array([231, 126, 0], np.float32)
LOW = np.array([0, 126, 231], np.float32)
_LEVELS = 513

Colors = NDArray[np.uint8]


def error_colors(error: NDArray[np.floating], limit_hu: float = ERROR_HU) -> Colors:
    """Map errors to RGB: orange if too high, blue if too low, dark at zero.

    Args:
        error: Errors in HU, of any shape.
        limit_hu: Errors with the full color.

    Returns:
        Colors with the shape of the errors and one more axis of three channels.
    """
    high = (error / limit_hu).clip(0, 1)[..., None] * HIGH
    low = (-error / limit_hu).clip(0, 1)[..., None] * LOW
    colors: Colors = np.rint(NO_ERROR + high + low).astype(np.uint8)
    return colors


def error_colormap() -> ListedColormap:
    """Return the colors of `error_colors` for matplotlib, from the lowest to the highest error."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(error_colors(np.linspace(-1, 1, _LEVELS), 1.0) / 255, "ct_error")
