"""Voxels outside the field of view, which hold a padding value instead of air."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.io.hounsfield.evidence import BoolArray, sampled
from ct_vae.io.hounsfield.rescale import Hounsfield
from ct_vae.volume import AIR_HU

# Padding outside the field of view is -1500, -2000, -2048 or -3024; resampling undershoots air
# (-1000) by up to 200 HU.
PADDING_HU = -1400


@dataclass(frozen=True)
class Padding:
    """Voxels that lay outside the field of view.

    Attributes:
        outside: Bool, of the shape of the voxels.
        spread: Share of all voxels, in a sample, that lie outside and do not hold the commonest
            padding value. Padding is one value, with a few more where resampling blurred its edge.
        share: Share of all voxels, in a sample, that lie outside.
        note: One line about it.
    """

    outside: BoolArray
    spread: float
    share: float
    note: str


def settle_padding(voxels: Hounsfield) -> Padding | None:
    """Turn the padding outside the field of view into air, in place.

    Args:
        voxels: In HU, of any shape.

    Returns:
        The padding found, or ``None``.
    """
    lowest = voxels.min()
    if lowest > PADDING_HU:
        return None
    sample = sampled(voxels)
    share, spread = _shares(sample[sample <= PADDING_HU], sample.size)
    outside: BoolArray = voxels <= PADDING_HU
    voxels[outside] = AIR_HU
    count = int(np.count_nonzero(outside))
    note = (
        f"{count} voxels ({100 * count / voxels.size:.3g} %) from {lowest:g} up to {PADDING_HU} HU "
        f"are padding outside the field of view and became {AIR_HU} HU"
    )
    return Padding(outside, spread, share, note)


def _shares(padding: NDArray[np.generic], size: int) -> tuple[float, float]:
    """Shares of all padding and of that which is not its commonest value."""
    if not padding.size:
        return 0.0, 0.0
    counts = np.unique(padding, return_counts=True)[1]
    return padding.size / size, (padding.size - int(counts.max())) / size
