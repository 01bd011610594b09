"""Scene of a phantom: an ordered list of painted shapes, and its rendering on a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ct_vae.grid import Triple
from ct_vae.phantoms.shapes import Array, Level, Pose, SolidShape, Tubes, VoxelCanvas, turn

Paint = float | Callable[[Array], Array]

# Voxels of one slab: large enough to amortize Python, small enough for the CPU's cache.
_SLAB_VOXELS = 400_000
# Larger voxels are subdivided for rendering, so that thin structures are not missed.
_COARSEST_MM = 3.0


@dataclass(frozen=True)
class Layer:
    """Shape painted over the previous layers.

    Attributes:
        shape: Region of the layer.
        hu: Hounsfield units: a number, or a function of body-frame points ``(3, ...)``.
        inside: Shape that the layer is restricted to; optional.
    """

    shape: SolidShape
    hu: Paint
    inside: SolidShape | None = None


@dataclass(frozen=True)
class Scene:
    """Layers of a patient from back to front, and the patient's pose.

    Attributes:
        pose: Pose of the body frame in the scanner.
        size_mm: Field of view of the anatomy in mm.
        layers: Layers in the order of painting, onto air of -1000 HU.
    """

    pose: Pose
    size_mm: tuple[float, float, float]
    layers: Sequence[Layer] = field(default_factory=tuple)


def render(scene: Scene, shape: Triple, spacing_mm: tuple[float, float, float]) -> Array:
    """Render a scene on an axis-parallel RAS grid with the same center.

    Args:
        scene: Scene to render.
        shape: Number of voxels along each axis.
        spacing_mm: Voxel size along each axis in mm.

    Returns:
        Array of ``shape`` in float32 HU; a voxel is the mean over its volume, to first order.
    """
    split = np.ceil(np.asarray(spacing_mm) / _COARSEST_MM).astype(int)
    step = np.asarray(spacing_mm) / split
    fine = np.asarray(shape) * split
    axes = [_axis(c, n, s) for c, n, s in _per_axis(scene, fine, step)]
    picture = np.empty(shape, dtype=np.float32)
    for first, last in _slabs(shape, split):
        # A margin of one voxel on every side, for the gradients that estimate partial coverage.
        window = slice(first * split[2], last * split[2] + 2)
        slab = _paint(scene, [axes[0], axes[1], axes[2][window]], step)[1:-1, 1:-1, 1:-1]
        picture[:, :, first:last] = _block_means(slab, split)
    return picture


def random_pose(
    rng: np.random.Generator, center_mm: tuple[float, float, float], warp_mm: float = 2.0
) -> Pose:
    """Draw a pose a few degrees and millimeters off, with five smooth waves of 70 to 160 mm."""
    directions = rng.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths_mm = rng.uniform(70, 160, size=(5, 1))
    return Pose(
        center_mm=np.asarray(center_mm) + rng.uniform(-4, 4, size=3),
        rotation=turn(*rng.uniform(-3, 3, size=3)),
        waves_mm=rng.uniform(-1, 1, size=(5, 3)) * warp_mm,
        wave_vectors=2 * np.pi * directions / lengths_mm,
        phases=rng.uniform(0, 2 * np.pi, size=5),
    )


def grow_tree(
    rng: np.random.Generator,
    root: ArrayLike,
    direction: ArrayLike,
    length_mm: float,
    radius_mm: float,
    generations: int,
) -> Tubes:
    """Generate a tree of tubes that bifurcates, with thinner and shorter branches each time.

    The radius decreases by ``2^(-1/3)`` per generation, Murray's law for equal branches.
    """
    starts = np.asarray([root], dtype=np.float64)
    heading = np.asarray([direction], dtype=np.float64)
    parts = []
    for generation in range(generations):
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        count = len(starts)
        lengths = length_mm * 0.86**generation * rng.uniform(0.7, 1.2, size=(count, 1))
        radius = radius_mm * 2 ** (-generation / 3)
        middle = starts + heading * lengths / 2 + rng.normal(0, 0.08, size=(count, 3)) * lengths
        ends = starts + heading * lengths
        parts.append(Tubes(starts, middle, np.tile([radius, radius * 0.93], (count, 1))))
        parts.append(Tubes(middle, ends, np.tile([radius * 0.93, radius * 0.85], (count, 1))))
        aside = np.cross(heading, rng.normal(size=(count, 3)))
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        heading = np.concatenate([heading + 0.6 * aside, heading - 0.6 * aside])
        starts = np.concatenate([ends, ends])
    return Tubes.join(parts)


def waves(rng: np.random.Generator, length_mm: float, count: int) -> Level:
    """Return a smooth random field of mean 0 and standard deviation 1, a sum of plane waves.

    Args:
        rng: Random generator for directions and phases.
        length_mm: Mean wavelength in mm; individual ones differ by at most 30 %.
        count: Number of waves.
    """
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = length_mm * rng.uniform(0.7, 1.3, size=(count, 1))
    vectors = (2 * np.pi * directions / lengths).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, size=count).astype(np.float32)

    def field(points: Array) -> Array:
        total = np.zeros(points.shape[1:], dtype=np.float32)
        for (x, y, z), phase in zip(vectors, phases, strict=True):
            total += np.sin(x * points[0] + y * points[1] + z * points[2] + phase)
        return total * np.float32(np.sqrt(2 / count))

    return field


def mottle(rng: np.random.Generator, hu: float, spread_hu: float, length_mm: float) -> Paint:
    """Return HU that vary smoothly around a mean, with a given standard deviation."""
    field = waves(rng, length_mm, 5)
    return lambda points: np.float32(hu) + np.float32(spread_hu) * field(points)


def _per_axis(
    scene: Scene, fine: NDArray[np.int_], step: NDArray[np.float64]
) -> Iterator[tuple[float, int, float]]:
    return zip(scene.pose.center_mm.tolist(), fine.tolist(), step.tolist(), strict=True)


def _axis(center_mm: float, count: int, step_mm: float) -> NDArray[np.float64]:
    """Return the positions of voxel centers, with one more at either end."""
    steps = np.arange(-1, count + 1, dtype=np.float64) - (count - 1) / 2
    return np.asarray(steps * step_mm + center_mm, dtype=np.float64)


def _slabs(shape: Triple, split: NDArray[np.int_]) -> Iterator[tuple[int, int]]:
    in_slice = shape[0] * shape[1] * int(np.prod(split))
    thick = max(1, _SLAB_VOXELS // in_slice)
    for first in range(0, shape[2], thick):
        yield first, min(first + thick, shape[2])


def _paint(scene: Scene, axes: list[NDArray[np.float64]], step: NDArray[np.float64]) -> Array:
    points = scene.pose.body_frame(axes)
    origin = np.array([axis[0] for axis in axes])
    canvas = VoxelCanvas(points, origin, step, scene.pose)
    picture = np.full(points.shape[1:], np.float32(-1000))
    masks: dict[int, Array] = {}
    for layer in scene.layers:
        covered = layer.shape.coverage(canvas)
        if covered is None:
            continue
        box, share = covered
        if layer.inside is not None:
            if id(layer.inside) not in masks:
                masks[id(layer.inside)] = _full(layer.inside, canvas)
            share = share * masks[id(layer.inside)][box]
        hu = layer.hu(points[:, *box]) if callable(layer.hu) else np.float32(layer.hu)
        picture[box] += share * (hu - picture[box])
    return picture


def _full(shape: SolidShape, canvas: VoxelCanvas) -> Array:
    mask = np.zeros(canvas.points.shape[1:], dtype=np.float32)
    covered = shape.coverage(canvas)
    if covered is not None:
        mask[covered[0]] = covered[1]
    return mask


def _block_means(slab: Array, split: NDArray[np.int_]) -> Array:
    if (split == 1).all():
        return slab
    a, b, c = split
    x, y, z = (n // s for n, s in zip(slab.shape, split, strict=True))
    means: Array = slab.reshape(x, a, y, b, z, c).mean(axis=(1, 3, 5))
    return means
