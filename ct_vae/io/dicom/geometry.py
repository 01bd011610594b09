"""From the positions of slices to a regular grid, or to the reason why there is none.

Slices are sorted by their position along the normal of their plane; nothing else tells their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import FloatArray, Grid
from ct_vae.io.nifti.affine import MAX_SHEAR

# A slice that lies off its place between the first and the last by less than this part of the
# spacing is rounding: positions are decimals, often of two or three places. Shifting a slice by it
# changes no voxel by more than 1 % of the step to its neighbour.
SPACING_TOLERANCE = 0.01
# The same within the plane, as a part of a pixel.
PLANE_TOLERANCE = 0.05
# Decimals end somewhere: nothing below this is judged, in mm.
LEAST_TOLERANCE_MM = 0.01
# Directions that differ by this much in a cosine move the corner of a 500 mm slice by 0.05 mm.
COSINE_TOLERANCE = 1e-4
# Rounding of direction cosines; beyond it the two axes are no perpendicular unit vectors.
_UNIT_TOLERANCE = 1e-3

# What is left of decimals in binary.
_DUST_MM = 1e-6

_CONSENT = "--resample-irregular resamples it onto a regular grid"
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in their order.

    Attributes:
        order: Which of the given positions comes first, second, and so on.
        distances_mm: Their positions along the normal, ascending.
        offsets_mm: Where each lies from the first, along row, column and normal, ``(n, 3)``.
        grid: The regular grid; it only stands in for one if there is a fault.
        fault: Why the slices are on no regular grid, which consent to resampling lifts.
    """

    order: tuple[int, ...]
    distances_mm: FloatArray
    offsets_mm: FloatArray
    grid: Grid
    fault: InputError | None


def normal_of(orientation: Sequence[float]) -> FloatArray:
    """Unit normal of a slice, from its two directions.

    Raises:
        InputError: If these are no perpendicular unit vectors.
    """
    row, column = _directions(orientation)
    normal: FloatArray = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def same_place_mm(distances: Sequence[float]) -> float:
    """How near two slices must lie along the normal to count as one place, in mm."""
    steps = np.diff(np.sort(np.asarray(distances)))
    steps = steps[steps > LEAST_TOLERANCE_MM]
    typical = float(np.median(steps)) if steps.size else 0.0
    return max(LEAST_TOLERANCE_MM, SPACING_TOLERANCE * typical)


def stack_slices(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    spacing: Sequence[float],
    matrix: tuple[int, int],
) -> Stack:
    """Sort slices along their normal and find the grid that they lie on.

    Args:
        positions: LPS+ positions of the first pixels in mm, at no place twice.
        orientation: Directions along a row and along a column, which all share.
        spacing: Between rows and between columns in mm.
        matrix: Number of columns and of rows.

    Raises:
        InputError: If directions or spacing are none, or all slices lie at one place.
    """
    row, column = _directions(orientation)
    normal = normal_of(orientation)
    if min(spacing) <= 0:
        raise InputError(f"its pixel spacing is {spacing[0]:g} by {spacing[1]:g} mm")
    points = np.asarray(positions, dtype=np.float64)
    order = np.argsort(points @ normal, kind="stable")
    points = points[order]
    distances = points @ normal
    count, extent = len(points), float(distances[-1] - distances[0])
    if count > 1 and extent <= LEAST_TOLERANCE_MM:
        raise InputError(f"all of its {count} slices lie at one place, {distances[0]:.3f} mm")
    mean = (points[-1] - points[0]) / max(1, count - 1)
    offsets = points - points[0]
    placed = np.stack([offsets @ row, offsets @ column, offsets @ normal], axis=1)
    fault = _fault(distances, placed, min(spacing))
    # Where the positions are no straight line, a grid can only stand in for them.
    step = mean if fault is None else normal * extent / max(1, count - 1)
    length = float(np.linalg.norm(step))
    grid = Grid.from_lps(
        (*matrix, count),
        (spacing[1], spacing[0], length),
        points[0].tolist(),
        np.stack([row, column, step / length], axis=1),
    )
    return Stack(tuple(order.tolist()), distances, placed, grid, fault)


def _directions(orientation: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    errors = abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)
    if max(errors) > _UNIT_TOLERANCE:
        cosines = ", ".join(f"{value:g}" for value in orientation)
        raise InputError(f"its directions are no perpendicular unit vectors: {cosines}")
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _fault(distances: FloatArray, placed: FloatArray, pixel_mm: float) -> InputError | None:
    """What keeps slices from being a regular grid: gaps, uneven steps, tilt, stray slices."""
    steps = np.diff(distances)
    if not steps.size:
        return None
    typical = float(np.median(steps))
    limit = max(LEAST_TOLERANCE_MM, SPACING_TOLERANCE * typical) + _DUST_MM
    even = np.linspace(distances[0], distances[-1], len(distances))
    if np.abs(distances - even).max() > limit:
        uneven = np.flatnonzero(np.abs(steps - typical) > limit)
        if uneven.size:
            return _uneven(distances, steps, typical, uneven)
        return InputError(
            f"its spacing drifts from {steps.min():.4g} to {steps.max():.4g} mm between "
            f"{distances[0]:.3f} and {distances[-1]:.3f} mm",
            _CONSENT,
        )
    line = np.linspace(0, 1, len(placed))[:, None] * placed[-1, :2]
    stray = np.linalg.norm(placed[:, :2] - line, axis=1)
    plane_limit = max(LEAST_TOLERANCE_MM, PLANE_TOLERANCE * pixel_mm)
    if stray.max() > plane_limit:
        return _stray(distances, placed, plane_limit)
    tilt = float(np.hypot(*placed[-1, :2]) / placed[-1, 2])
    # The same bound as for the axes of a NIfTI file: a cosine.
    if math.sin(math.atan(tilt)) > MAX_SHEAR:
        return InputError(
            f"its slices are tilted by {math.degrees(math.atan(tilt)):.2f} degrees against the "
            f"line of their positions ({_listed(distances)}), each displaced in its plane by "
            f"{np.hypot(*placed[-1, :2]) / len(steps):.4g} mm against the one before",
            _CONSENT,
        )
    return None


def _uneven(
    distances: FloatArray, steps: FloatArray, typical: float, uneven: NDArray[np.intp]
) -> InputError:
    places = [f"{distances[i]:.3f} to {distances[i + 1]:.3f}" for i in uneven[:_SHOWN]]
    more = f" and {len(uneven) - _SHOWN} more" if len(uneven) > _SHOWN else ""
    whole = steps[uneven] / typical
    missing = np.rint(whole) - 1
    gaps = bool((missing >= 1).all() and (np.abs(whole - missing - 1) < 0.1).all())
    if gaps:
        start = (
            f"{int(missing.sum())} slices are missing"
            if missing.sum() > 1
            else ("a slice is missing")
        )
    else:
        start = f"its spacing is uneven ({steps.min():.4g} to {steps.max():.4g} mm)"
    return InputError(
        f"{start}: its slices are {typical:.4g} mm apart, but not at {', '.join(places)} mm{more}",
        f"export it again in full; {_CONSENT}",
    )


def _stray(distances: FloatArray, placed: FloatArray, limit: float) -> InputError:
    # Two slices that do not move against each other are more likely right than the others.
    moved = np.linalg.norm(placed[:, :2] - np.median(placed[:, :2], axis=0), axis=1)
    off = np.flatnonzero(moved > limit)
    return InputError(
        f"its slices are not in line: those at {_listed(distances[off])} are displaced in their "
        f"plane by up to {moved.max():.4g} mm",
        _CONSENT,
    )


def _listed(distances: FloatArray) -> str:
    """Positions along the normal in mm, a few of many."""
    shown = [f"{value:.3f}" for value in distances[:_SHOWN]]
    return ", ".join(shown) + (f", ... {distances[-1]:.3f}" if len(distances) > _SHOWN else "")
