"""Slices that are tilted, displaced or unevenly spaced, resampled onto a regular grid.

Every slice is moved within its plane to where a straight stack has it, and the stack is
interpolated along the normal where it has no slice; both linearly. What a voxel outside the field
of view, or no voxel at all, has a part in becomes air, outside the field of view.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import InputError
from ct_vae.grid import MAX_SHEAR, MAX_VOXELS, FloatArray, Grid
from ct_vae.volume import AIR_HU, Volume

# Weights below this are rounding of positions, and a part of a voxel that nobody sees.
_NEGLIGIBLE = 1e-3
# More than this many times the voxels of the source would be made up.
_LARGEST_GROWTH = 4

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def rectify(volume: Volume, offsets_mm: FloatArray) -> Volume:
    """Resample a stack of slices onto a regular grid with its third axis along their normal.

    The first two axes keep directions and spacing. Along the third, slices lie as near to each
    other as the nearest quarter of those of the source, from its first to its last.

    Args:
        volume: Slices along the third axis; its grid places the first one and their plane.
        offsets_mm: Where each slice lies from the origin of the grid, along axes 0 and 1 and the
            normal (the cross product of their directions), ``(Z, 3)``, ascending along the normal.

    Raises:
        InputError: If most of the result would be made up.
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
    made_up = 0
    for k in range(count):
        at = distances[0] + k * step
        made_up += _blend(volume, shifts, distances, at, (voxels[:, :, k], outside[:, :, k]))
    first = np.append(low, distances[0])
    grid = _grid(volume.grid, first, step, (shape[0], shape[1], count))
    tilt = math.degrees(math.atan2(np.hypot(*offsets_mm[-1, :2]), distances[-1]))
    note = (
        f"irregular slices were resampled: tilt of {tilt:.2f} degrees, displaced in their plane by "
        f"up to {np.ptp(offsets_mm[:, :2], axis=0).max():.4g} mm; {made_up} of {count} slices at "
        f"{step:.4g} mm are interpolated between slices of the source"
    )
    facts = {"tilt_degrees": round(tilt, 4), "interpolated_slices": made_up, "slices": count}
    return replace(
        volume,
        voxels=voxels,
        grid=grid,
        outside_fov=outside if outside.any() else None,
        source={**volume.source, "resampled_irregular": facts},
        warnings=(*volume.warnings, note),
    )


def rectify_shear(volume: Volume) -> Volume:
    """Resample a volume on a sheared grid, such as of a tilted gantry, onto an orthogonal one.

    Raises:
        InputError: If no two of its axes are orthogonal, which no scanner does.
    """
    unit = volume.grid.direction
    for axis in (2, 0, 1):
        first, second = (other for other in (0, 1, 2) if other != axis)
        if abs(unit[:, first] @ unit[:, second]) <= MAX_SHEAR:
            turned = _with_last(volume, (first, second, axis))
            place = np.argsort((first, second, axis))
            return _with_last(_straighten(turned), (int(place[0]), int(place[1]), int(place[2])))
    raise InputError(
        "its axes are sheared against each other in every plane, as no scanner makes them",
        "resample it onto an orthogonal grid first",
    )


def _straighten(volume: Volume) -> Volume:
    matrix = volume.grid.affine[:3, :3]
    unit = volume.grid.direction
    normal = np.cross(unit[:, 0], unit[:, 1])
    basis = np.stack([unit[:, 0], unit[:, 1], normal / np.linalg.norm(normal)], axis=1)
    step = np.linalg.solve(basis, matrix[:, 2])
    steps = np.arange(volume.grid.shape[2], dtype=np.float64)
    if step[2] > 0:
        return rectify(volume, steps[:, None] * step)
    # Against the normal: mirror the first axis of the plane, not the order of the slices.
    mirrored = rectify(_mirror(volume), steps[:, None] * (step * _FLIP))
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
    """The same volume with its index axes in another order."""
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
    """Step and number of slices that span the same length."""
    steps = np.diff(distances)
    fine = float(np.percentile(steps, 25, method="lower"))
    count = round(float(distances[-1] - distances[0]) / fine) + 1
    return float(distances[-1] - distances[0]) / (count - 1), count


def _check_growth(volume: Volume, shape: tuple[int, ...]) -> None:
    count = math.prod(shape)
    if count > min(MAX_VOXELS, _LARGEST_GROWTH * volume.voxels.size):
        sides = " x ".join(map(str, shape))
        raise InputError(
            f"is too irregular to be resampled: {sides} voxels would be made of "
            f"{volume.voxels.size}, most of them made up",
            "export it again in full",
        )


def _blend(
    volume: Volume,
    shifts: FloatArray,
    distances: FloatArray,
    at: float,
    target: tuple[Plane, Mask],
) -> bool:
    """Fill one slice of the result; whether it lies between two slices of the source."""
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
    """A slice moved by parts of pixels onto a larger one, and what it does not cover."""
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
    """Move along one axis by a part of a pixel, into a last row that is unseen so far."""
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
