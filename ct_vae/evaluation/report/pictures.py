"""Image of a case: original, reconstruction and signed error in the worst slice."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from ct_vae.evaluation.pictures.error_colors import Colors, error_colors
from ct_vae.evaluation.report.payload import RasPair
from ct_vae.evaluation.windows import WINDOWS, Window

PICTURE_WINDOW = WINDOWS["soft_tissue"]
_SIDE = 192
# Width and height of a picture in pixels.
PICTURE_SIZE = (3 * _SIDE, _SIDE)


def picture(pair: RasPair) -> str:
    """Return a PNG, as base64 text, of the axial slice with the largest error.

    From left to right: original and reconstruction in the soft tissue window, and the error up to
    `ERROR_HU`. The patient's right is on the left, anterior is up.
    """
    z = pair.found.worst[2]
    original, result = (a[::-1, ::-1, z].T for a in (pair.original, pair.result))
    rows, columns = _places(original.shape, pair.spacing_mm)
    small = [image[np.ix_(rows, columns)].astype(np.float32) for image in (original, result)]
    parts = [gray(image, PICTURE_WINDOW) for image in small]
    parts.append(error_colors(small[1] - small[0]))
    file = io.BytesIO()
    imsave(file, np.concatenate([_square(part) for part in parts], axis=1), format="png")
    return base64.b64encode(file.getvalue()).decode()


def gray(hu: NDArray[np.floating], window: Window) -> Colors:
    """Map HU to gray as in the viewer: black at the lower end of the window, white at the upper."""
    level = np.rint((hu - window.low).clip(0, window.width) * (255 / window.width))
    return np.repeat(level.astype(np.uint8)[..., None], 3, axis=-1)


def _places(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns to sample for square pixels and ``_SIDE`` pixels on the long side."""
    tall, wide = shape[0] * spacing_mm[1], shape[1] * spacing_mm[0]
    pixel = max(tall, wide) / _SIDE
    rows, columns = (
        ((np.arange(max(1, round(mm / pixel))) + 0.5) * n / max(1, round(mm / pixel))).astype(
            np.intp
        )
        for mm, n in ((tall, shape[0]), (wide, shape[1]))
    )
    return rows, columns


def _square(part: Colors) -> Colors:
    square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    top, left = ((_SIDE - n) // 2 for n in part.shape[:2])
    square[top : top + part.shape[0], left : left + part.shape[1]] = part
    return square
