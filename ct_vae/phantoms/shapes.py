"""Analytic shapes in millimeters and their anti-aliased rasterization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Slices = tuple[slice, slice, slice]
Level = Callable[[Array], Array]


@dataclass(frozen=True)
class Pose:
    """Pose of a patient: a rigid motion and a smooth warp, from scanner to body frame.

    Attributes:
        center_mm: RAS+ position in the scanner of the origin of the body frame, ``(3,)``.
        rotation: Rotation matrix ``(3, 3)`` with the body axes as columns.
        waves_mm: Amplitudes of sine displacements ``(K, 3)`` in mm.
        wave_vectors: Wave vectors ``(K, 3)`` in radians per mm.
        phases: Phases ``(K,)`` in radians.
    """

    center_mm: NDArray[np.float64]
    rotation: NDArray[np.float64]
    waves_mm: NDArray[np.float64]
    wave_vectors: NDArray[np.float64]
    phases: NDArray[np.float64]

    def body_frame(self, axes_mm: Sequence[NDArray[np.float64]]) -> Array:
        """Return body-frame positions ``(3, X, Y, Z)`` of the scanner grid with these axes."""
        x, y, z = (axis - c for axis, c in zip(axes_mm, self.center_mm, strict=True))
        points = np.stack([_linear(column, x, y, z) for column in self.rotation.T])
        for amplitude, vector, phase in zip(
            self.waves_mm, self.wave_vectors, self.phases, strict=True
        ):
            wave = np.sin(_linear(vector, x, y, z) + np.float32(phase))
            for axis in range(3):
                points[axis] += np.float32(amplitude[axis]) * wave
        return points

    def box_mm(
        self, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a scanner-frame box that contains the body-frame boxes ``(..., 3)``."""
        middle = (low + high) / 2 @ self.rotation.T + self.center_mm
        reach = (high - low) / 2 @ np.abs(self.rotation).T + np.abs(self.waves_mm).sum(axis=0)
        return middle - reach, middle + reach


@dataclass(frozen=True)
class VoxelCanvas:
    """Grid on which shapes are rasterized.

    Attributes:
        points: Body-frame positions of the voxel centers in mm, ``(3, X, Y, Z)`` float32.
        origin_mm: Scanner position of the first voxel in mm.
        spacing_mm: Voxel size along each axis in mm.
        pose: Map between the frames.
    """

    points: Array
    origin_mm: NDArray[np.float64]
    spacing_mm: NDArray[np.float64]
    pose: Pose

    def slices(self, low_mm: ArrayLike, high_mm: ArrayLike) -> Slices | None:
        """Return the voxels that a body-frame box may overlap; ``None`` if it is outside."""
        start, stop = self.bounds(np.asarray(low_mm, float), np.asarray(high_mm, float))
        return None if (stop - start < 2).any() else _slices(start, stop)

    def bounds(
        self, low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]
    ) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Return the ranges of voxels that body-frame boxes ``(..., 3)`` overlap.

        Returns:
            First voxels and ends of the ranges, ``(..., 3)`` each.
        """
        low, high = self.pose.box_mm(low_mm, high_mm)
        start = np.floor((low - self.origin_mm) / self.spacing_mm - 1).clip(0)
        stop = np.ceil((high - self.origin_mm) / self.spacing_mm + 2)
        return start.astype(int), stop.clip(max=self.points.shape[1:]).astype(int)


class SolidShape(Protocol):
    """Shape that covers voxels completely or partially."""

    def coverage(self, canvas: VoxelCanvas) -> tuple[Slices, Array] | None:
        """Return the covered fraction in [0, 1] of each voxel of a box, ``None`` if outside."""


@dataclass(frozen=True)
class Solid:
    """Points where a level function, approximately a signed distance in mm, is negative."""

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]
    level: Level

    def coverage(self, canvas: VoxelCanvas) -> tuple[Slices, Array] | None:
        """See `SolidShape`."""
        box = canvas.slices(self.low_mm, self.high_mm)
        return None if box is None else (box, _covered(self.level(canvas.points[:, *box])))


@dataclass(frozen=True)
class Blob:
    """Superellipsoid ``|x/a|^n + |y/b|^n + |z/c|^m < 1``.

    Attributes:
        center: Body-frame center in mm.
        radii: Half axes in mm.
        rotation: Rotation matrix ``(3, 3)`` with its axes as columns; ``None`` for the body's axes.
        power: Exponent ``n``; 2 is an ellipsoid, larger values are more like a box.
        power_z: Exponent ``m``.
    """

    center: tuple[float, float, float]
    radii: tuple[float, float, float]
    rotation: NDArray[np.float64] | None = None
    power: float = 2.0
    power_z: float = 2.0

    def coverage(self, canvas: VoxelCanvas) -> tuple[Slices, Array] | None:
        """See `SolidShape`."""
        reach = np.asarray(self.radii)
        if self.rotation is not None:
            reach = np.abs(self.rotation) @ reach
        box = canvas.slices(np.asarray(self.center) - reach, np.asarray(self.center) + reach)
        return None if box is None else (box, _covered(self.level(canvas.points[:, *box])))

    def level(self, points: Array) -> Array:
        """Return the approximate signed distance from the surface in mm, negative inside."""
        local = [points[i] - np.float32(self.center[i]) for i in range(3)]
        if self.rotation is not None:
            local = [sum(np.float32(c[i]) * local[i] for i in range(3)) for c in self.rotation.T]
        powers = (self.power, self.power, self.power_z)
        total = np.full(points.shape[1:], np.float32(-1))
        for q, r, n in zip(local, self.radii, powers, strict=True):
            total += _power(q / np.float32(r), n)
        return total * np.float32(min(self.radii) / self.power)

    def grown(self, mm: float | Sequence[float]) -> Blob:
        """Return the blob with larger radii, at least 0.5 mm."""
        a, b, c = np.maximum(np.asarray(self.radii) + np.asarray(mm), 0.5).tolist()
        return replace(self, radii=(a, b, c))


@dataclass(frozen=True)
class Tubes:
    """Conical segments with round ends.

    Attributes:
        starts: Start points ``(N, 3)`` in mm.
        ends: End points ``(N, 3)`` in mm.
        radii: Radii ``(N, 2)`` at start and end in mm.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    radii: NDArray[np.float64]

    @classmethod
    def along(cls, path: ArrayLike, radius: ArrayLike) -> Tubes:
        """Create segments through points ``(N, 3)`` with one radius, or one per point, in mm."""
        points = np.asarray(path, dtype=np.float64)
        radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), len(points))
        return cls(points[:-1], points[1:], np.stack([radii[:-1], radii[1:]], axis=1))

    @classmethod
    def join(cls, parts: Sequence[Tubes]) -> Tubes:
        """Combine the segments of several tubes."""
        return cls(
            np.concatenate([p.starts for p in parts]),
            np.concatenate([p.ends for p in parts]),
            np.concatenate([p.radii for p in parts]),
        )

    def near(self, level: Level, mm: float) -> Tubes:
        """Keep the segments that start or end within ``mm`` of the inside of a level function."""
        ends = np.stack([self.starts, self.ends]).transpose(2, 0, 1).astype(np.float32)
        keep = (level(ends) < mm).any(axis=0)
        return Tubes(self.starts[keep], self.ends[keep], self.radii[keep])

    def grown(self, mm: float) -> Tubes:
        """Return the tubes with larger radii, at least 0.3 mm."""
        return replace(self, radii=np.maximum(self.radii + mm, 0.3))

    def coverage(self, canvas: VoxelCanvas) -> tuple[Slices, Array] | None:
        """See `SolidShape`. Tubes thinner than a voxel get a proportionally lower coverage."""
        reach = self.radii.max(axis=1, keepdims=True) + float(canvas.spacing_mm.max())
        low = np.minimum(self.starts, self.ends) - reach
        start, stop = canvas.bounds(low, np.maximum(self.starts, self.ends) + reach)
        near = np.flatnonzero((stop - start >= 2).all(axis=1))
        if not near.size:
            return None
        first = start[near].min(axis=0)
        whole = _slices(first, stop[near].max(axis=0))
        result = np.zeros([s.stop - s.start for s in whole], dtype=np.float32)
        for n in near.tolist():
            points = canvas.points[:, *_slices(start[n], stop[n])]
            part = result[_slices(start[n] - first, stop[n] - first)]
            np.maximum(part, self._segment(n, points, canvas.spacing_mm), out=part)
        return whole, result

    def _segment(self, n: int, points: Array, spacing_mm: NDArray[np.float64]) -> Array:
        axis = self.ends[n] - self.starts[n]
        offset = points - self.starts[n].astype(np.float32)[:, None, None, None]
        unit = (axis / max(axis @ axis, 1e-9)).astype(np.float32)
        along = np.einsum("i,i...->...", unit, offset).clip(0, 1)
        aside = np.abs(offset - np.multiply.outer(axis.astype(np.float32), along))
        distance = np.sqrt((aside * aside).sum(axis=0)) + np.float32(1e-3)
        # Change of the distance from one face of a voxel to the other.
        step = np.einsum("i,i...->...", spacing_mm.astype(np.float32), aside) / distance
        step = np.maximum(step, np.float32(spacing_mm.min()))
        first, last = self.radii[n].tolist()
        radius = np.float32(first) + np.float32(last - first) * along
        # A ramp as wide as a voxel adds step^2 / 12 to the mean squared radius.
        blur = step * step / np.float32(12)
        drawn = np.sqrt(np.maximum(radius * radius - blur, 3 * blur))
        fraction = (np.float32(0.5) - (distance - drawn) / step).clip(0, 1)
        thin: Array = fraction * np.minimum(radius * radius / (drawn * drawn + blur), 1)
        return thin


def smooth_max(*levels: Array, mm: float) -> Array:
    """Return the maximum of several levels, with edges rounded over about ``mm``.

    This is the polynomial smooth maximum of Quilez, ``max(a, b) + h^2 mm / 4``, where ``h``
    decreases from 1 for equal values to 0 for values that differ by ``mm``.
    """
    result = levels[0]
    for level in levels[1:]:
        near = np.maximum(1 - np.abs(result - level) / np.float32(mm), 0)
        result = np.maximum(result, level) + near * near * np.float32(mm / 4)
    return result


def turn(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> NDArray[np.float64]:
    """Return the rotation matrix about the x, then y, then z axis; degrees, counter-clockwise."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad([x_deg, y_deg, z_deg])):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        matrix = step @ matrix
    return matrix


def _slices(start: NDArray[np.int_], stop: NDArray[np.int_]) -> Slices:
    a, b, c = (slice(i, j) for i, j in zip(start.tolist(), stop.tolist(), strict=True))
    return a, b, c


def _linear(
    weights: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
) -> Array:
    plane = (weights[0] * x)[:, None] + (weights[1] * y)[None, :]
    sums: Array = plane.astype(np.float32)[:, :, None] + (weights[2] * z).astype(np.float32)
    return sums


def _power(base: Array, exponent: float) -> Array:
    square = base * base
    if exponent == 2:
        return square
    if exponent == 3:
        return square * np.abs(base)
    if exponent == 4:
        return square * square
    raised: Array = np.power(square, np.float32(exponent / 2))
    return raised


def _covered(level: Array) -> Array:
    """Estimate the fraction of each voxel below zero for a level that is linear within a voxel."""
    extent = np.full(level.shape, np.float32(1e-6))
    for axis in range(3):
        extent += np.abs(np.gradient(level, axis=axis))
    fraction: Array = np.clip(np.float32(0.5) - level / extent, 0, 1)
    return fraction
