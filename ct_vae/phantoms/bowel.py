"""Stomach, small bowel and colon of the abdomen phantom, with walls, contents and gas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ct_vae.phantoms.scene import Layer, mottle
from ct_vae.phantoms.shapes import Array, Blob, Solid, SolidShape, Tubes, turn
from ct_vae.phantoms.trunk import Tissue

_GAS_HU = -985.0

Path = list[tuple[float, float, float]]


def gas_above(y_mm: float, lumen: SolidShape) -> Layer:
    """Gas in the front part of a lumen, with a flat lower surface in a supine patient."""

    def level(points: Array) -> Array:
        behind: Array = np.float32(y_mm) - points[1]
        return behind

    half = Solid((-200.0, y_mm, -400.0), (200.0, y_mm + 200, 400.0), level)
    return Layer(half, _GAS_HU, lumen)


def stomach(tissue: Tissue, cavity: Blob, top_mm: float, rng: np.random.Generator) -> list[Layer]:
    """Curved stomach under the left dome of the diaphragm, with gas above fluid.

    Args:
        tissue: HU of the wall.
        cavity: Region that contains the stomach.
        top_mm: Height of the right dome of the diaphragm in mm.
        rng: Random generator for the contents.
    """
    base = top_mm - 122
    path = [
        (-62, 4, base + 66),
        (-62, 14, base + 40),
        (-50, 34, base + 16),
        (-24, 48, base - 2),
        (6, 44, base + 2),
        (26, 34, base + 10),
    ]
    outer = Tubes.along(path, [24, 31, 28, 21, 15, 10])
    lumen = outer.grown(-4.0)
    content = mottle(rng, 25.0, 14, 20.0)
    return [
        Layer(outer, tissue.bowel, cavity),
        Layer(lumen, content, cavity),
        gas_above(36.0, lumen),
    ]


def small_bowel(tissue: Tissue, cavity: Blob, rng: np.random.Generator) -> list[Layer]:
    """Loops of the small bowel in the middle of the abdomen, most with fluid, some with gas."""
    inside = cavity.grown(-7.0)
    layers = []
    for _ in range(36):
        path = _loop(rng)
        radius = rng.uniform(8, 12.5)
        outer = Tubes.along(path, radius + rng.uniform(-0.8, 0.8, size=len(path)))
        lumen = outer.grown(-rng.uniform(1.8, 2.6))
        layers.append(Layer(outer, tissue.bowel, inside))
        layers.append(Layer(lumen, mottle(rng, rng.uniform(10, 35), 7, 24.0), inside))
        if rng.random() < 0.3:
            layers.append(gas_above(float(path[:, 1].max()) + radius * 0.1, lumen))
    return layers


def colon(tissue: Tissue, cavity: Blob, rng: np.random.Generator) -> list[Layer]:
    """Colon with haustra, filled with stool and gas."""
    a, b, _ = cavity.radii
    x, front = a - 27, cavity.center[1] + b - 34
    courses: list[tuple[Path, float]] = [
        ([(x, -14, -150), (x + 2, -12, -100), (x, -10, -50), (x - 4, 0, -14)], 23.0),
        (
            [
                (x - 4, 0, -14),
                (x - 26, front - 14, -22),
                (40, front, -40),
                (0, front + 2, -52),
                (-40, front, -38),
                (3 - x + 20, front - 22, -2),
                (4 - x, 0, 34),
            ],
            19.0,
        ),
        (
            [(4 - x, 0, 34), (-x, -22, 4), (-x, -26, -50), (1 - x, -22, -100), (6 - x, -8, -160)],
            15.0,
        ),
    ]
    layers = []
    for course, radius in courses:
        path = _fine(np.asarray(course, dtype=np.float64) + rng.normal(0, 3, size=(len(course), 3)))
        phase = rng.uniform(0, 6)
        # Haustra: constrictions about every 30 mm.
        pinch = 1 + 0.16 * np.sin(np.arange(len(path)) * 2 * np.pi * 6 / 30 + phase)
        outer = Tubes.along(path, radius * pinch)
        lumen = outer.grown(-2.4)
        layers.append(Layer(outer, tissue.bowel - 10, cavity))
        layers.append(Layer(lumen, mottle(rng, 30.0, 45, 22.0), cavity))
        middle = float(np.median(path[:, 1]))
        layers.append(gas_above(middle + rng.uniform(-0.5, 0.6) * radius, lumen))
    return layers


def _loop(rng: np.random.Generator) -> NDArray[np.float64]:
    center = rng.uniform((-72, -8, -150), (72, 62, -20))
    angles = np.linspace(0, rng.uniform(2.5, 4.5), 12)
    size = rng.uniform(18, 34, size=2)
    arc = np.stack([size[0] * np.cos(angles), size[1] * np.sin(angles), 4 * np.sin(2 * angles)], 1)
    frame = turn(rng.uniform(-70, 70), rng.uniform(-70, 70), rng.uniform(0, 360))
    path: NDArray[np.float64] = arc @ frame.T + center
    return path


def _fine(course: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sample a spline through the points every 6 mm."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(course, axis=0), axis=1))])
    steps = np.arange(0, lengths[-1], 6.0)
    path: NDArray[np.float64] = CubicSpline(lengths, course)(steps)
    return path
