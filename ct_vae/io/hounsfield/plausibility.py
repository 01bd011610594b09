"""Is this CT in HU? Refusals on strong evidence only, and what lies outside the field of view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.io.hounsfield.rescale import Hounsfield
from ct_vae.volume import AIR_HU

# Padding outside the field of view is -1500, -2000, -2048 or -3024; resampling undershoots air
# (-1000) by up to 200 HU.
PADDING_HU = -1400

_FORCE = "if it is CT in HU all the same, --force reads it"
_SAMPLE_VOXELS = 1 << 19
_FEW_VALUES = 5
# Padding is one value, with a few more where resampling blurred its edge; air is noise.
_NOISE_VALUES = 20

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Padding:
    """What lay outside the field of view.

    Attributes:
        outside: ``(X, Y, Z)`` bool.
        values: How many different values it had, in a sample.
        note: One line about it.
    """

    outside: BoolArray
    values: int
    note: str


def settle_padding(voxels: Hounsfield) -> Padding | None:
    """Turn the padding outside the field of view into air, in place.

    Args:
        voxels: ``(X, Y, Z)`` in HU.

    Returns:
        What was found, or ``None``.
    """
    lowest = voxels.min()
    if lowest > PADDING_HU:
        return None
    outside: BoolArray = voxels <= PADDING_HU
    sample = _sample(voxels, None)
    values = len(np.unique(sample[sample <= PADDING_HU]))
    voxels[outside] = AIR_HU
    count = int(np.count_nonzero(outside))
    note = (
        f"{count} voxels ({100 * count / voxels.size:.3g} %) from {lowest:g} up to {PADDING_HU} HU "
        f"are padding outside the field of view and became {AIR_HU} HU"
    )
    return Padding(outside, values, note)


def refuse_implausible(voxels: Hounsfield, padding: Padding | None) -> None:
    """Refuse values that cannot be a CT in HU.

    Args:
        voxels: ``(X, Y, Z)``, padding already settled.
        padding: What was settled; it is not judged.

    Raises:
        InputError: With the statistics that led to it, and the fix.
    """
    outside = padding.outside if padding else None
    low, high = _extremes(voxels, outside)
    facts = f"its values run from {low:g} to {high:g}"
    if not low <= high:
        raise InputError("is nothing but padding: no voxel is above -1400 HU", _FORCE)
    if low == high:
        raise InputError(f"is constant: every voxel is {low:g}", _FORCE)
    if high <= -900:
        raise InputError(f"is nothing but air: {facts}", _FORCE)
    if low >= -1 and high <= 1:
        raise InputError(
            f"is not in HU: {facts}, as if normalised or a mask", f"export it in HU; {_FORCE}"
        )
    distinct = _few_values(voxels, outside)
    if distinct:
        listed = ", ".join(f"{value:g}" for value in distinct)
        raise InputError(
            f"is not CT: it has only {len(distinct)} distinct values ({listed}), as a mask has",
            _FORCE,
        )
    sample = _sample(voxels, outside)
    _refuse_offset(sample, low, high)
    if padding and padding.values > _NOISE_VALUES and _share(sample, -150, 150) < 0.02:
        raise InputError(
            f"seems to be HU - 1024, its rescale intercept applied twice: {facts}, under 2 % of "
            f"them within 150 of 0, and {padding.values} different values lie at or below "
            f"{PADDING_HU}, where padding has one",
            f"--hu-offset 1024 corrects that; {_FORCE}",
        )


def _refuse_offset(sample: NDArray[Any], low: float, high: float) -> None:
    """Refuse what was shifted or never was HU, judged by where its peaks lie."""
    air = _share(sample, -50, 100)
    tissue = _share(sample, 950, 1200)
    between = _share(sample, 300, 900)
    facts = (
        f"its values run from {low:g} to {high:g}, {air:.0%} of them in [-50, 100] and "
        f"{tissue:.0%} in [950, 1200]"
    )
    shifted = tissue > 0.1 and tissue > 2 * between
    if shifted and (low >= 0 or (low > -200 and air > 0.02)):
        raise InputError(
            f"seems to be HU + 1024, its rescale intercept lost: {facts}",
            f"--hu-offset -1024 corrects that; {_FORCE}",
        )
    if low >= 0:
        kind = "an 8-bit picture" if high <= 255 else "MR, PET, a label map or shifted CT"
        raise InputError(
            f"is not in HU: no value is negative, it may be {kind}: {facts}",
            f"export it in HU, or correct a lost intercept with --hu-offset; {_FORCE}",
        )


def _extremes(voxels: Hounsfield, outside: BoolArray | None) -> tuple[float, float]:
    """Exact extremes inside the field of view; ``(inf, -inf)`` if there is no voxel."""
    if outside is None:
        return float(voxels.min()), float(voxels.max())
    seen = ~outside
    if not seen.any():
        return np.inf, -np.inf
    low = voxels.min(initial=voxels.max(), where=seen)
    return float(low), float(voxels.max(initial=voxels.min(), where=seen))


def _few_values(voxels: Hounsfield, outside: BoolArray | None) -> list[float]:
    """The distinct values if there are at most five of them, else nothing."""
    found: set[float] = set()
    for k in range(voxels.shape[2]):
        plane = voxels[:, :, k] if outside is None else voxels[:, :, k][~outside[:, :, k]]
        found.update(np.unique(plane).tolist())
        # In CT the first slice is enough.
        if len(found) > _FEW_VALUES:
            return []
    return sorted(found)


def _sample(voxels: Hounsfield, outside: BoolArray | None) -> NDArray[Any]:
    """Regularly spaced voxels inside the field of view, about half a million of many."""
    # An even step would meet the same columns again and again.
    step = max(1, voxels.size // _SAMPLE_VOXELS) | 1
    picked = voxels.ravel(order="K")[::step]
    return picked if outside is None else picked[~outside.ravel(order="K")[::step]]


def _share(sample: NDArray[Any], low: float, high: float) -> float:
    return float(np.count_nonzero((sample >= low) & (sample <= high)) / max(1, sample.size))
