"""Replacement of padding outside the field of view by air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.io.hounsfield.hu_evidence import BoolArray, sampled
from ct_vae.io.hounsfield.rescale import Hounsfield
from ct_vae.volume import AIR_HU

# Padding outside the field of view is -1500, -2000, -2048 or -3024; resampling undershoots air
# (-1000) by up to 200 HU.
PADDING_HU = -1400


@dataclass(frozen=True)
class Padding:
    """Voxels outside the field of view.

    Attributes:
        outside: Mask with the shape of the voxels.
        spread: Fraction of all voxels, in a sample, that are padding but differ from the most
            common padding value. Padding is one value, with a few others at edges blurred by
            resampling.
        fraction: Fraction of all voxels, in a sample, that are padding.
        note: Description for the user.
    """

    outside: BoolArray
    spread: float
    fraction: float
    note: str


def replace_padding(voxels: Hounsfield) -> Padding | None:
    """Replace the padding outside the field of view by air, in place.

    Args:
        voxels: Values in HU, of any shape.

    Returns:
        The padding found, or ``None``.
    """
    lowest = voxels.min()
    if lowest > PADDING_HU:
        return None
    sample = sampled(voxels)
    fraction, spread = _fractions(sample[sample <= PADDING_HU], sample.size)
    outside: BoolArray = voxels <= PADDING_HU
    voxels[outside] = AIR_HU
    count = int(np.count_nonzero(outside))
    note = (
        f"{count} voxels ({100 * count / voxels.size:.3g} %) from {lowest:g} up to {PADDING_HU} HU "
        f"are padding outside the field of view and became {AIR_HU} HU"
    )
    return Padding(outside, spread, fraction, note)


def _fractions(padding: NDArray[np.generic], size: int) -> tuple[float, float]:
    """Return the fractions of all padding and of padding other than its most common value."""
    if not padding.size:
        return 0.0, 0.0
    counts = np.unique(padding, return_counts=True)[1]
    return padding.size / size, (padding.size - int(counts.max())) / size
