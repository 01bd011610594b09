"""Errors for irregularly spaced slices, and removal of jitter before they are resampled."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import FloatArray

# Slices within this fraction of the spacing, and of a pixel, from a regular grid are regular.
MAX_DEVIATION = 0.15
CONSENT = "--resample-irregular resamples it onto a regular grid"
_SHOWN = 8
# Number of consecutive equal steps that count as a spacing rather than as gaps.
_SHORTEST_RUN = 3
# Larger gaps, in slices, separate two stacks.
_MOST_MISSING = 8


def in_their_places(offsets_mm: FloatArray, pixel_mm: float) -> FloatArray:
    """Remove jitter within tolerances from offsets, so that only gaps and tilt are resampled.

    Args:
        offsets_mm: ``(n, 3)`` offsets along row, column and normal, ascending along the normal.
        pixel_mm: Smaller side of a pixel.
    """
    placed = offsets_mm.copy()
    middle = np.median(placed[:, :2], axis=0)
    if np.linalg.norm(placed[:, :2] - middle, axis=1).max() <= MAX_DEVIATION * pixel_mm:
        placed[:, :2] = middle
    steps = np.diff(placed[:, 2])
    # Gaps are multiples of the spacing.
    counts = np.rint(steps / np.percentile(steps, 25, method="lower"))
    if counts.min() < 1:
        return placed
    index = np.concatenate([[0.0], np.cumsum(counts)])
    slope, start = np.polyfit(index, placed[:, 2], 1)
    if np.abs(placed[:, 2] - (start + slope * index)).max() <= MAX_DEVIATION * slope:
        placed[:, 2] = start + slope * index
    return placed


def uneven_fault(distances: FloatArray) -> InputError:
    """Return the error for slices that are not evenly spaced along their normal."""
    steps = np.diff(distances)
    typical = float(np.median(steps))
    runs = _runs(steps, MAX_DEVIATION * typical)
    if len(runs) in (2, 3) and min(stop - start for start, stop in runs) >= _SHORTEST_RUN:
        parts = [
            f"{steps[start:stop].mean():.4g} mm from {distances[start]:.3f} to "
            f"{distances[stop]:.3f} mm"
            for start, stop in runs
        ]
        return InputError(f"it has {len(parts)} spacings: {', then '.join(parts)}", CONSENT)
    uneven = np.flatnonzero(np.abs(steps - typical) > MAX_DEVIATION * typical)
    if not uneven.size:
        return InputError(
            f"its spacing drifts from {steps.min():.4g} to {steps.max():.4g} mm between "
            f"{distances[0]:.3f} and {distances[-1]:.3f} mm",
            CONSENT,
        )
    return _gaps(distances, steps, typical, uneven)


def _runs(steps: FloatArray, tolerance: float) -> list[tuple[int, int]]:
    """Return runs of consecutive equal steps as start and stop indices."""
    cuts = np.flatnonzero(np.abs(np.diff(steps)) > tolerance) + 1
    bounds = [0, *cuts.tolist(), len(steps)]
    return list(pairwise(bounds))


def _gaps(
    distances: FloatArray, steps: FloatArray, typical: float, uneven: NDArray[np.intp]
) -> InputError:
    places = [f"{distances[i]:.3f} to {distances[i + 1]:.3f}" for i in uneven[:_SHOWN]]
    more = f" and {len(uneven) - _SHOWN} more" if len(uneven) > _SHOWN else ""
    where = f"its slices are {typical:.4g} mm apart, but not at {', '.join(places)} mm{more}"
    whole = steps[uneven] / typical
    missing = np.rint(whole) - 1
    if missing.max() > _MOST_MISSING:
        return InputError(
            f"it consists of {int((missing > _MOST_MISSING).sum()) + 1} stacks of slices with up "
            f"to {steps.max():.4g} mm between them: {where}",
            "export each stack as a separate series",
        )
    if not ((missing >= 1).all() and (np.abs(whole - missing - 1) <= MAX_DEVIATION).all()):
        start = f"its spacing is uneven ({steps.min():.4g} to {steps.max():.4g} mm)"
        return InputError(f"{start}: {where}", CONSENT)
    count = int(missing.sum())
    start = f"{count} slices are missing" if count > 1 else "a slice is missing"
    return InputError(f"{start}: {where}", f"export it again in full; {CONSENT}")


def stray_fault(distances: FloatArray, placed: FloatArray, limit: float) -> InputError:
    """Return the error for slices that are displaced within their plane.

    Args:
        distances: Positions along the normal in mm.
        placed: ``(n, 3)`` offsets along row, column and normal in mm.
        limit: Tolerance in mm.
    """
    # Two slices that do not move against each other are more likely right than the others.
    moved = np.linalg.norm(placed[:, :2] - np.median(placed[:, :2], axis=0), axis=1)
    off = np.flatnonzero(moved > min(limit, moved.max() / 2))
    return InputError(
        f"its slices are not in line: those at {listed(distances[off])} are displaced in their "
        f"plane by up to {moved.max():.4g} mm",
        CONSENT,
    )


def listed(distances: FloatArray) -> str:
    """Format positions along the normal in mm, abbreviated."""
    shown = [f"{value:.3f}" for value in distances[:_SHOWN]]
    return ", ".join(shown) + (f", ... {distances[-1]:.3f}" if len(distances) > _SHOWN else "")
