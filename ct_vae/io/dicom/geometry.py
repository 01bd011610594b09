"""Fit of a regular grid to the positions of slices.

Slices are sorted only by their position along the normal of their plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ct_vae.errors import InputError
from ct_vae.grid import MAX_SHEAR, FloatArray, Grid
from ct_vae.io.dicom.irregularity import (
    CONSENT,
    MAX_DEVIATION,
    listed,
    stray_fault,
    uneven_fault,
)

# Positions are decimals, often with two or three places. Deviations below this fraction of the
# spacing are rounding errors: shifting a slice by as much changes a voxel by at most 1 % of the
# difference to its neighbor.
ROUNDING = 0.01
# Tolerance within the plane, as a fraction of a pixel.
PLANE_ROUNDING = 0.05
# Smaller deviations from the grid are not reported, in mm and as a fraction.
_LEAST_REPORTED_MM = 2e-3
_REPORTED = 2e-3
# Smallest tolerance in mm, as positions are rounded.
LEAST_TOLERANCE_MM = 0.01
# Tolerance of the length and the dot product of direction cosines.
_UNIT_TOLERANCE = 1e-3

# Binary representation error of decimals.
_DUST_MM = 1e-6


@dataclass(frozen=True, eq=False)
class Stack:
    """Sorted slices and the grid fitted to them.

    Attributes:
        order: Indices that sort the given positions.
        distances_mm: Positions along the normal in mm, ascending.
        offsets_mm: Offsets from the first slice along row, column and normal in mm, ``(n, 3)``.
        grid: The regular grid; an approximation if there is a fault.
        fault: Error if the slices are not on a regular grid; resampling resolves it.
        note: Warning about deviations from the grid; empty if there are none.
    """

    order: tuple[int, ...]
    distances_mm: FloatArray
    offsets_mm: FloatArray
    grid: Grid
    fault: InputError | None
    note: str = ""


def normal_of(orientation: Sequence[float]) -> FloatArray:
    """Return the unit normal of a slice from its two direction cosines.

    Raises:
        InputError: If the directions are not perpendicular unit vectors.
    """
    row, column = _directions(orientation)
    normal: FloatArray = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def position_tolerance_mm(distances: Sequence[float]) -> float:
    """Return the distance along the normal below which two slices share a position, in mm."""
    steps = np.diff(np.sort(np.asarray(distances)))
    steps = steps[steps > LEAST_TOLERANCE_MM]
    typical = float(np.median(steps)) if steps.size else 0.0
    return max(LEAST_TOLERANCE_MM, MAX_DEVIATION * typical)


def stack_slices(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    spacing: Sequence[float],
    matrix: tuple[int, int],
    thickness: float | None = None,
) -> Stack:
    """Sort slices along their normal and fit a regular grid to them.

    Args:
        positions: Distinct LPS+ positions of the first pixels in mm.
        orientation: Directions along a row and along a column.
        spacing: Distance between rows and between columns in mm.
        matrix: Number of columns and of rows.
        thickness: Slice thickness in mm, used as the spacing of a single slice.

    Raises:
        InputError: If directions or spacing are invalid, or all slices have the same position.
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
        raise InputError(f"all of its {count} slices are at one position, {distances[0]:.3f} mm")
    axes = np.stack([row, column, normal], axis=1)
    placed = (points - points[0]) @ axes
    if count == 1:
        line, fault = _Line(np.zeros(3), np.array([0, 0, _known(thickness)]), 0.0, 0.0), None
    else:
        line = _line(placed, min(spacing))
        fault = _fault(distances, placed, line, min(spacing))
    # Without a straight line of positions, the grid is an approximation.
    step, start = normal * (extent / (count - 1) if fault else line.step[2]), points[0]
    if not fault and line.fitted:
        step, start = axes @ line.step, start + axes @ line.start
    elif not fault and count > 1:
        step = (points[-1] - points[0]) / (count - 1)
    length = float(np.linalg.norm(step))
    grid = Grid.from_lps(
        (*matrix, count),
        (spacing[1], spacing[0], length),
        start.tolist(),
        np.stack([row, column, step / length], axis=1),
    )
    note = "" if fault else _note(line, min(spacing))
    return Stack(tuple(order.tolist()), distances, placed, grid, fault, note)


@dataclass(frozen=True, eq=False)
class _Line:
    """Evenly spaced points on a line, and the deviations of slices from them.

    Attributes:
        start: First point relative to the first slice, along row, column and normal, in mm.
        step: Vector between neighboring points.
        along: Largest deviation along the normal in mm.
        across: Largest deviation within the plane in mm.
        fitted: True if the line is fitted to all slices instead of connecting first and last.
    """

    start: FloatArray
    step: FloatArray
    along: float
    across: float
    fitted: bool = False

    def within(self, along: float, across: float, pixel_mm: float) -> bool:
        """Return whether deviations are within fractions of the spacing and of a pixel."""
        return (
            self.along <= max(LEAST_TOLERANCE_MM, along * float(self.step[2])) + _DUST_MM
            and self.across <= max(LEAST_TOLERANCE_MM, across * pixel_mm) + _DUST_MM
        )


def _line(placed: FloatArray, pixel_mm: float) -> _Line:
    """Fit a line to slices: through the first and last, else least squares, else minimax."""
    steps = np.arange(len(placed), dtype=np.float64)
    ends = _measured(placed, np.zeros(3), placed[-1] / steps[-1])
    if ends.within(ROUNDING, PLANE_ROUNDING, pixel_mm):
        return ends
    centered = steps - steps.mean()
    slope = centered @ placed / (centered @ centered)
    fitted = _measured(placed, placed.mean(axis=0) - slope * steps.mean(), slope)
    nearest = min(ends, replace(fitted, fitted=True), key=lambda each: max(each.along, each.across))
    if nearest.within(MAX_DEVIATION, np.inf, pixel_mm):
        return nearest
    start, step = fitted.start.copy(), slope.copy()
    start[2], step[2] = _minimax(placed[:, 2], float(slope[2]))
    return replace(_measured(placed, start, step), fitted=True)


def _minimax(values: FloatArray, slope: float) -> tuple[float, float]:
    """Return start and step of the evenly spaced values with the smallest maximum deviation.

    Args:
        values: Ascending values.
        slope: Initial estimate of the step.
    """
    from scipy.optimize import minimize_scalar

    steps = np.arange(len(values), dtype=np.float64)

    # The spread of the residuals is a convex function of the step.
    def width(step: float) -> float:
        return float(np.ptp(values - step * steps))

    # A better step differs by less than the spread at the estimate.
    reach = width(slope) / steps[-1]
    found = minimize_scalar(
        width,
        bounds=(slope - reach, slope + reach),
        method="bounded",
        options={"xatol": 1e-9 * slope},
    )
    step = float(found.x)
    rest = values - step * steps
    return float(rest.min() + rest.max()) / 2, step


def _measured(placed: FloatArray, start: FloatArray, step: FloatArray) -> _Line:
    off = placed - (start + np.arange(len(placed))[:, None] * step)
    along, across = np.abs(off[:, 2]).max(), np.linalg.norm(off[:, :2], axis=1).max()
    return _Line(start, step, float(along), float(across))


def _known(declared: float | None) -> float:
    if declared is None:
        raise InputError(
            "is a single slice without SliceThickness, so that the height of its voxels is unknown",
            "give the folder of its series",
        )
    return declared


def _note(line: _Line, pixel_mm: float) -> str:
    spacing = float(line.step[2])
    along = line.along > max(_LEAST_REPORTED_MM, _REPORTED * spacing)
    if not along and line.across <= max(_LEAST_REPORTED_MM, _REPORTED * pixel_mm):
        return ""
    return (
        f"its slices deviate from a regular grid by up to {line.along:.2g} mm along their normal "
        f"({line.along / spacing:.2g} of a spacing) and {line.across:.2g} mm in their plane "
        f"({line.across / pixel_mm:.2g} of a pixel), and were treated as regular"
    )


def _directions(orientation: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    errors = abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)
    if max(errors) > _UNIT_TOLERANCE:
        cosines = ", ".join(f"{value:g}" for value in orientation)
        raise InputError(f"its directions are not perpendicular unit vectors: {cosines}")
    row = row / lengths[0]
    column = column - (column @ row) * row
    return row, column / np.linalg.norm(column)


def _fault(
    distances: FloatArray, placed: FloatArray, line: _Line, pixel_mm: float
) -> InputError | None:
    """Return the error for gaps, uneven steps, displaced slices or tilt, or ``None``."""
    if not line.within(MAX_DEVIATION, np.inf, pixel_mm):
        return uneven_fault(distances)
    if not line.within(np.inf, MAX_DEVIATION, pixel_mm):
        return stray_fault(distances, placed, max(LEAST_TOLERANCE_MM, MAX_DEVIATION * pixel_mm))
    shift = float(np.hypot(*line.step[:2]))
    tilt = shift / float(line.step[2])
    # The same bound as for the axes of a NIfTI file: a cosine.
    if math.sin(math.atan(tilt)) > MAX_SHEAR:
        return InputError(
            f"its slices are tilted by {math.degrees(math.atan(tilt)):.2f} degrees against the "
            f"line of their positions ({listed(distances)}), each displaced in its plane by "
            f"{shift:.4g} mm against the one before",
            CONSENT,
        )
    return None
