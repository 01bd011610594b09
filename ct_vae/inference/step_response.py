"""Measurement of how a reconstruction responds to rounding of its latent."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ct_vae.io.latent.quantized import STEP_OF_UNIT_ERROR, dequantize, quantize_values
from ct_vae.latent import LatentStatistics, StepResponse

# Latent voxels of the crop along each axis.
_CROP = 12
# Coarse enough for a change above the noise of float32, fine enough to be linear.
_STEP = 2.0


def measure_step_response(
    decode: Callable[[np.ndarray], torch.Tensor],
    image: torch.Tensor,
    array: np.ndarray,
    statistics: LatentStatistics,
    hu_per_unit: float,
) -> StepResponse | None:
    """Decode the central crop of a latent as it is and rounded, and compare with its source.

    Args:
        decode: Decoder of a latent ``(C, x, y, z)`` to an image ``(X, Y, Z)`` in model units.
        image: Image ``(X, Y, Z)`` in model units that the latent was made of.
        array: Latent ``(C, x, y, z)``.
        statistics: Statistics of the latent with the standard deviation of the posterior.
        hu_per_unit: HU per model unit.

    Returns:
        The response, or ``None`` if the posterior has no width in some channel.
    """
    widths = statistics.posterior_std or (0.0,)
    if min(widths) <= 0:
        return None
    sides = tuple(min(side, _CROP) for side in array.shape[1:])
    starts = [(n - side) // 2 for n, side in zip(array.shape[1:], sides, strict=True)]
    inner = tuple(slice(a, a + n) for a, n in zip(starts, sides, strict=True))
    crop = np.ascontiguousarray(array[:, *inner])
    steps = tuple(_STEP * STEP_OF_UNIT_ERROR * width for width in widths)
    exact = decode(crop)
    change = decode(dequantize(quantize_values(crop, steps), steps)) - exact
    source = image
    for axis, (start, side) in enumerate(zip(starts, sides, strict=True)):
        factor = image.shape[axis] // array.shape[axis + 1]
        source = source.narrow(axis, start * factor, side * factor)
    return StepResponse(
        crop=(sides[0], sides[1], sides[2]),
        rmse_hu=hu_per_unit * _rms(exact - source),
        change_hu=hu_per_unit * _rms(change) / _STEP,
    )


def _rms(difference: torch.Tensor) -> float:
    return math.sqrt(float(difference.double().square().mean()))
