"""Shape and affine of a voxel array: the map from indices to RAS+ positions in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt2axcodes,
    ornt_transform,
)
from numpy.typing import ArrayLike, NDArray

from ct_vae.errors import InputError

FloatArray = NDArray[np.float64]
Triple = tuple[int, int, int]

# LPS and RAS differ by the sign of the first two world axes.
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Largest cosine between two axes of a grid that is taken as orthogonal.
MAX_SHEAR = 1e-2
# Most voxels of a volume.
MAX_VOXELS = 2**31


@dataclass(frozen=True, eq=False)
class Grid:
    """Regular three-dimensional grid of points in patient space.

    The point with indices ``(i, j, k)`` is at ``affine @ (i, j, k, 1)`` in millimeters, with axes
    pointing to the patient's right, anterior and superior side (RAS+). Indices refer to voxel
    centers.

    Attributes:
        shape: Number of points along each index axis, all positive.
        affine: Read-only ``(4, 4)`` float64 matrix, finite and invertible, last row ``0 0 0 1``.

    Raises:
        InputError: If the shape or the affine is invalid.
    """

    shape: Triple
    affine: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"the shape of a grid is three positive integers, got {shape}")
        affine = np.array(self.affine, dtype=np.float64)
        _check_affine(affine)
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __eq__(self, other: object) -> bool:
        """Return true if both grids have the same shape and exactly the same affine."""
        if not isinstance(other, Grid):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    def __str__(self) -> str:
        sides, spacing = (" x ".join(f"{n:.4g}" for n in v) for v in (self.shape, self.spacing_mm))
        return f"{sides}, {spacing} mm, {self.axcodes}"

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighboring points along each index axis, in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def direction(self) -> FloatArray:
        """Unit vectors of the index axes in RAS+, as the columns of a ``(3, 3)`` matrix."""
        unit: FloatArray = self.affine[:3, :3] / np.asarray(self.spacing_mm, dtype=np.float64)
        return unit

    @property
    def axcodes(self) -> str:
        """Nearest anatomical directions of the index axes, such as ``"LPS"``."""
        return "".join(ornt2axcodes(io_orientation(self.affine)))

    @property
    def shear(self) -> float:
        """Largest absolute cosine between two index axes; 0 for an orthogonal grid."""
        gram = self.direction.T @ self.direction
        return float(np.abs(gram - np.diag(np.diag(gram))).max())

    def to_world(self, indices: ArrayLike) -> FloatArray:
        """Map indices ``(..., 3)``, which may be fractional, to RAS+ positions in mm."""
        points = np.asarray(indices, dtype=np.float64)
        return points @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, positions_mm: ArrayLike) -> FloatArray:
        """Map RAS+ positions ``(..., 3)`` in mm to fractional indices."""
        points = np.asarray(positions_mm, dtype=np.float64) - self.affine[:3, 3]
        index: FloatArray = points @ np.linalg.inv(self.affine[:3, :3]).T
        return index

    def corners_mm(self) -> FloatArray:
        """Return the RAS+ positions of the eight corner voxels, ``(8, 3)``, in mm."""
        ends = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"))
        return self.to_world(ends.reshape(3, 8).T)

    def distance_mm(self, other: Grid) -> float:
        """Return the largest distance between corresponding corners, in mm, or infinity.

        The distance is infinite if the shapes differ.
        """
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max())

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Grid:
        """Keep the indices ``start <= i < stop`` along each axis.

        Raises:
            InputError: If the box is empty or extends beyond the grid.
        """
        low, high = _triple(start, "start"), _triple(stop, "stop")
        if any(not 0 <= a < b <= n for a, b, n in zip(low, high, self.shape, strict=True)):
            raise InputError(f"box {low} to {high} is empty or outside a grid of {self.shape}")
        return Grid(_sub(high, low), self._shifted(low))

    def pad(self, low: Sequence[int], high: Sequence[int]) -> Grid:
        """Add ``low`` points before and ``high`` points after each axis.

        Raises:
            InputError: If a number is negative.
        """
        before, after = _triple(low, "low"), _triple(high, "high")
        if min(before + after) < 0:
            raise InputError(f"padding must not be negative, got {before} and {after}")
        a, b, c = (n + p + q for n, p, q in zip(self.shape, before, after, strict=True))
        return Grid((a, b, c), self._shifted(_sub((0, 0, 0), before)))

    def coarsen(self, factor: int | Sequence[int]) -> Grid:
        """Replace each block of ``factor`` points by one point at the mean of their positions.

        Raises:
            InputError: If a size is not a multiple of its factor.
        """
        step = _factor(factor)
        if any(n % f for n, f in zip(self.shape, step, strict=True)):
            raise InputError(f"sides {self.shape} are not multiples of the factor {step}")
        x, y, z = (n // f for n, f in zip(self.shape, step, strict=True))
        return Grid((x, y, z), self.affine @ _block_center(step))

    def refine(self, factor: int | Sequence[int]) -> Grid:
        """Undo `coarsen`: replace each point by a block of ``factor`` points around it."""
        step = _factor(factor)
        x, y, z = (n * f for n, f in zip(self.shape, step, strict=True))
        return Grid((x, y, z), self.affine @ np.linalg.inv(_block_center(step)))

    def reorient(self, axcodes: str) -> Grid:
        """Flip and permute the index axes so that their directions are closest to ``axcodes``.

        The points keep their positions; only their indices change. `reorient_array` reorders voxels
        in the same way.

        Raises:
            InputError: If ``axcodes`` does not name three anatomical axes.
        """
        move = self._orientation_to(axcodes)
        axes = np.argsort(move[:, 0])
        x, y, z = (self.shape[int(axis)] for axis in axes)
        return Grid((x, y, z), self.affine @ inv_ornt_aff(move, self.shape))

    def reorient_array(self, array: NDArray[np.generic], axcodes: str) -> NDArray[np.generic]:
        """Reorder an array on this grid, spatial axes first, in the same way as `reorient`."""
        moved: NDArray[np.generic] = apply_orientation(array, self._orientation_to(axcodes))
        return moved

    def restore_array(self, array: NDArray[np.generic], axcodes: str) -> NDArray[np.generic]:
        """Undo `reorient_array`: reorder an array on the reoriented grid to match this grid."""
        identity = axcodes2ornt("RAS")
        back = ornt_transform(identity, self._orientation_to(axcodes))
        moved: NDArray[np.generic] = apply_orientation(array, back)
        return moved

    def orthonormal(self) -> Grid:
        """Return the nearest grid with orthogonal axes and the same center.

        The direction matrix is replaced by the orthogonal factor of its polar decomposition, the
        nearest orthogonal matrix in the Frobenius norm (Higham 1986).
        """
        u, _, vt = np.linalg.svd(self.direction)
        affine = self.affine.copy()
        affine[:3, :3] = (u @ vt) * np.asarray(self.spacing_mm)
        center = (np.asarray(self.shape) - 1) / 2
        affine[:3, 3] = self.to_world(center) - affine[:3, :3] @ center
        return Grid(self.shape, affine)

    @classmethod
    def from_lps(
        cls,
        size: Sequence[int],
        spacing_mm: Sequence[float],
        origin_mm: Sequence[float],
        direction: ArrayLike,
    ) -> Grid:
        """Build a grid from the LPS+ geometry of SimpleITK or DICOM.

        Args:
            size: Number of points along each index axis.
            spacing_mm: Spacing along each index axis in mm.
            origin_mm: LPS+ position of the center of the first voxel in mm.
            direction: Direction matrix, ``(3, 3)`` or flat row-major, with index axes as columns.
        """
        affine = np.eye(4)
        matrix = np.asarray(direction, dtype=np.float64).reshape(3, 3)
        affine[:3, :3] = matrix * np.asarray(spacing_mm, dtype=np.float64)
        affine[:3, 3] = origin_mm
        return cls(_triple(size, "size"), _LPS_RAS @ affine)

    def to_lps(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Return spacing in mm, LPS+ origin in mm and flat row-major direction, as in SimpleITK."""
        lps = _LPS_RAS @ self.affine
        direction = lps[:3, :3] / np.asarray(self.spacing_mm)
        return self.spacing_mm, tuple(lps[:3, 3].tolist()), tuple(direction.ravel().tolist())

    def _shifted(self, offset: Sequence[int]) -> FloatArray:
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(offset)
        return affine

    def _orientation_to(self, axcodes: str) -> FloatArray:
        letters = set(axcodes)
        if len(axcodes) != 3 or any(len(letters & set(pair)) != 1 for pair in ("RL", "AP", "SI")):
            raise InputError(f"{axcodes!r} does not name three anatomical axes, such as 'RAS'")
        here = io_orientation(self.affine)
        move: FloatArray = ornt_transform(here, axcodes2ornt(axcodes))
        return move


def _check_affine(affine: FloatArray) -> None:
    if affine.shape != (4, 4):
        raise InputError(f"an affine is a 4 x 4 matrix, got shape {affine.shape}")
    rows = np.array2string(affine[:3], precision=4, separator=", ").replace("\n", "")
    if not np.isfinite(affine).all():
        raise InputError(f"the affine contains values that are not finite: {rows}")
    if not np.array_equal(affine[3], [0, 0, 0, 1]):
        raise InputError(f"the last row of an affine is 0 0 0 1, got {affine[3].tolist()}")
    scale = np.linalg.norm(affine[:3, :3], axis=0)
    # The inverse is numerically unreliable if the axes are this close to linearly dependent.
    if not scale.all() or abs(np.linalg.det(affine[:3, :3] / scale)) < 1e-6:
        raise InputError(f"the affine is singular: {rows}")


def _block_center(factor: Triple) -> FloatArray:
    matrix = np.diag([*map(float, factor), 1.0])
    matrix[:3, 3] = (np.asarray(factor) - 1) / 2
    return matrix


def _triple(values: Sequence[int], name: str) -> Triple:
    numbers = tuple(int(v) for v in values)
    if len(numbers) != 3:
        raise InputError(f"{name} needs one number per axis, got {numbers}")
    return numbers[0], numbers[1], numbers[2]


def _factor(factor: int | Sequence[int]) -> Triple:
    step = (factor, factor, factor) if isinstance(factor, int) else _triple(factor, "factor")
    if min(step) < 1:
        raise InputError(f"a factor is at least 1, got {step}")
    return step


def _sub(a: Triple, b: Triple) -> Triple:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]
