"""Resampling of tilted, displaced or unevenly spaced slices to a regular grid.

Each slice is shifted within its plane to align it with the others, and the stack is interpolated
along the normal, both linearly. Output voxels that depend on voxels outside the field of view or
outside a slice become air outside the field of view.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import MAX_SHEAR, MAX_VOXELS, FloatArray, Grid
from ct_vae.volume import AIR_HU, Volume

# Smaller weights are due to rounded positions and invisible.
_NEGLIGIBLE = 1e-3
# Largest permitted number of output voxels, as a multiple of the input voxels.
_LARGEST_GROWTH = 4

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def resample_to_regular_grid(volume: Volume, offsets_mm: FloatArray) -> Volume:
    """Resample a stack of slices to a regular grid with its third axis along their normal.

    The first two axes keep directions and spacing. The spacing along the third axis is the first
    quartile of the distances between the slices.

    Args:
        volume: Slices along the third axis; the grid is that of the first slice.
        offsets_mm: Offsets of the slices from the origin of the grid along axes 0 and 1 and the
            normal (the cross product of their directions), ``(Z, 3)``, ascending along the normal.

    Raises:
        InputError: If most voxels of the result would be interpolated.
    """
    x, y, _ = volume.grid.spacing_mm
    low = offsets_mm[:, :2].min(axis=0)
    shifts = (offsets_mm[:, :2] - low) / (x, y)
    shape = [
        n + math.ceil(s - _NEGLIGIBLE)
        for n, s in zip(volume.grid.shape[:2], shifts.max(axis=0), strict=True)
    ]
    distances = offsets_mm[:, 2]
    step, count = _regular(distances)
    _check_growth(volume, (*shape, count))
    voxels = np.empty((*shape, count), np.float32, order="F")
    outside = np.empty((*shape, count), np.bool_, order="F")
    interpolated = 0
    for k in range(count):
        at = distances[0] + k * step
        interpolated += _blend(volume, shifts, distances, at, (voxels[:, :, k], outside[:, :, k]))
    first = np.append(low, distances[0])
    grid = _grid(volume.grid, first, step, (shape[0], shape[1], count))
    tilt = math.degrees(math.atan2(np.hypot(*offsets_mm[-1, :2]), distances[-1]))
    note = (
        f"irregular slices were resampled: tilt of {tilt:.2f} degrees, displaced in their plane by "
        f"up to {np.ptp(offsets_mm[:, :2], axis=0).max():.4g} mm; {interpolated} of {count} slices "
        f"at {step:.4g} mm are interpolated between slices of the source"
    )
    facts = {"tilt_degrees": round(tilt, 4), "interpolated_slices": interpolated, "slices": count}
    return replace(
        volume,
        voxels=voxels,
        grid=grid,
        outside_fov=outside if outside.any() else None,
        source={**volume.source, "resampled_irregular": facts},
        warnings=(*volume.warnings, note),
    )


def resample_sheared(volume: Volume) -> Volume:
    """Resample a volume on a sheared grid, such as of a tilted gantry, to an orthogonal grid.

    Raises:
        InputError: If no two of its axes are orthogonal, unlike the images of any scanner.
    """
    unit = volume.grid.direction
    for axis in (2, 0, 1):
        first, second = (other for other in (0, 1, 2) if other != axis)
        if abs(unit[:, first] @ unit[:, second]) <= MAX_SHEAR:
            turned = _with_last(volume, (first, second, axis))
            place = np.argsort((first, second, axis))
            return _with_last(_straighten(turned), (int(place[0]), int(place[1]), int(place[2])))
    raise InputError(
        "no two of its axes are orthogonal, unlike the images of any scanner",
        "resample it to an orthogonal grid first",
    )


def _straighten(volume: Volume) -> Volume:
    matrix = volume.grid.affine[:3, :3]
    unit = volume.grid.direction
    normal = np.cross(unit[:, 0], unit[:, 1])
    basis = np.stack([unit[:, 0], unit[:, 1], normal / np.linalg.norm(normal)], axis=1)
    step = np.linalg.solve(basis, matrix[:, 2])
    steps = np.arange(volume.grid.shape[2], dtype=np.float64)
    if step[2] > 0:
        return resample_to_regular_grid(volume, steps[:, None] * step)
    # For slices in the opposite direction, mirror the first axis to keep the order of slices.
    mirrored = resample_to_regular_grid(_mirror(volume), steps[:, None] * (step * _FLIP))
    return _mirror(mirrored)


_FLIP = np.array([-1.0, 1.0, -1.0])


def _mirror(volume: Volume) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (volume.grid.shape[0] - 1)
    affine[:3, 0] *= -1
    mask = volume.outside_fov
    return replace(
        volume,
        voxels=volume.voxels[::-1],
        grid=Grid(volume.grid.shape, affine),
        outside_fov=None if mask is None else mask[::-1],
    )


def _with_last(volume: Volume, axes: tuple[int, int, int]) -> Volume:
    """Permute the index axes of a volume."""
    affine = volume.grid.affine.copy()
    affine[:3, :3] = affine[:3, axes]
    a, b, c = (volume.grid.shape[axis] for axis in axes)
    mask = volume.outside_fov
    return replace(
        volume,
        voxels=volume.voxels.transpose(axes),
        grid=Grid((a, b, c), affine),
        outside_fov=None if mask is None else mask.transpose(axes),
    )


def _regular(distances: FloatArray) -> tuple[float, int]:
    """Return spacing and number of regular slices that span the same length."""
    steps = np.diff(distances)
    fine = float(np.percentile(steps, 25, method="lower"))
    count = round(float(distances[-1] - distances[0]) / fine) + 1
    return float(distances[-1] - distances[0]) / (count - 1), count


def _check_growth(volume: Volume, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    if count > min(MAX_VOXELS, _LARGEST_GROWTH * volume.voxels.size):
        sides = " x ".join(map(str, shape))
        raise InputError(
            f"is too irregular to be resampled: {volume.voxels.size} voxels would become {sides}, "
            "most of them interpolated",
            "export the complete series again",
        )


def _blend(
    volume: Volume,
    shifts: FloatArray,
    distances: FloatArray,
    at: float,
    target: tuple[Plane, Mask],
) -> bool:
    """Fill one slice of the result; return True if it is between two slices of the source."""
    upper = min(int(np.searchsorted(distances, at)), len(distances) - 1)
    lower = max(upper - 1, 0)
    gap = distances[upper] - distances[lower]
    weight = float((at - distances[lower]) / gap) if gap else 0.0
    parts = [(lower, 1 - weight), (upper, weight)]
    parts = [(k, w) for k, w in parts if w > _NEGLIGIBLE]
    total = sum(w for _, w in parts)
    voxels, outside = target
    voxels[:], outside[:] = 0, False
    for k, w in parts:
        mask = None if volume.outside_fov is None else volume.outside_fov[:, :, k]
        plane, unseen = _shifted(volume.voxels[:, :, k], mask, shifts[k], voxels.shape)
        voxels += np.float32(w / total) * plane
        outside |= unseen
    voxels[outside] = AIR_HU
    return len(parts) > 1


def _shifted(
    plane: NDArray[np.int16] | NDArray[np.float32],
    mask: Mask | None,
    shift: FloatArray,
    shape: tuple[int, ...],
) -> tuple[Plane, Mask]:
    """Shift a slice within a larger one; return its values and the mask outside of it."""
    values: Plane = np.zeros(shape, np.float32)
    unseen: Mask = np.ones(shape, np.bool_)
    x, y = (math.floor(s + _NEGLIGIBLE) for s in shift)
    box = slice(x, x + plane.shape[0]), slice(y, y + plane.shape[1])
    values[box] = plane
    unseen[box] = False if mask is None else mask
    for axis, part in enumerate(shift - (x, y)):
        if part > _NEGLIGIBLE:
            values, unseen = _between(values, unseen, axis, float(part))
    return values, unseen


def _between(values: Plane, unseen: Mask, axis: int, part: float) -> tuple[Plane, Mask]:
    """Shift along one axis by a fraction of a pixel; the last row must be empty."""
    moved = np.roll(values, 1, axis)
    mixed: Plane = (1 - np.float32(part)) * values + np.float32(part) * moved
    return mixed, unseen | np.roll(unseen, 1, axis)


def _grid(source: Grid, first: FloatArray, step: float, shape: tuple[int, int, int]) -> Grid:
    affine = source.affine.copy()
    unit = source.direction
    normal = np.cross(unit[:, 0], unit[:, 1])
    normal /= np.linalg.norm(normal)
    affine[:3, 2] = normal * step
    affine[:3, 3] += unit[:, :2] @ first[:2] + normal * first[2]
    return Grid(shape, affine)
