"""Vertebrae, ribs and long bones of the phantoms: cortical shells around marrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ct_vae.phantoms.scene import Layer
from ct_vae.phantoms.shapes import Blob, Tubes

Curve = Callable[[float], float]


@dataclass(frozen=True)
class Bone:
    """HU of cortical bone and marrow, and thickness of the cortical bone."""

    cortex_hu: float
    marrow_hu: float
    cortex_mm: float = 1.8

    def solid(self, blob: Blob) -> list[Layer]:
        """Return a blob of marrow in a cortical shell."""
        return [
            Layer(blob, self.cortex_hu),
            Layer(blob.grown(-self.cortex_mm), self.marrow_hu),
        ]

    def tubes(self, tubes: Tubes) -> list[Layer]:
        """Return tubes of marrow in a cortical shell."""
        return [
            Layer(tubes, self.cortex_hu),
            Layer(tubes.grown(-self.cortex_mm), self.marrow_hu),
        ]


def spine(
    bone: Bone, levels_mm: Sequence[float], height_mm: float, radius_mm: float, curve: Curve
) -> list[Layer]:
    """Create a column of vertebrae with discs, canal and cord.

    Args:
        bone: Bone of the vertebrae.
        levels_mm: Height of the center of each vertebral body in mm.
        height_mm: Distance between neighboring centers in mm.
        radius_mm: Half the width of a vertebral body in mm.
        curve: Function from height to the front-to-back position of the bodies' centers.
    """
    layers = []
    for z in levels_mm:
        disc = Blob(
            (0, curve(z - height_mm / 2), z - height_mm / 2), (radius_mm, 0.76 * radius_mm, 5)
        )
        layers.append(Layer(disc.grown((-1, -1, 0)), 85.0))
        layers += _arch(bone, z, curve(z), radius_mm, height_mm)
        body = Blob((0, curve(z), z), (radius_mm, 0.76 * radius_mm, 0.42 * height_mm), None, 2.6, 6)
        layers += bone.solid(body)
    ends = np.array([max(levels_mm) + 2 * height_mm, min(levels_mm) - 2 * height_mm])
    heights = np.linspace(ends[0], ends[1], 40)
    canal = [(0.0, curve(z) - 0.76 * radius_mm - 8, z) for z in heights]
    layers.append(Layer(Tubes.along(canal, 8.5), -30.0))
    layers.append(Layer(Tubes.along(canal, 7.2), 18.0))
    layers.append(Layer(Tubes.along(canal, 4.6), 42.0))
    return layers


def _arch(bone: Bone, z: float, y: float, radius: float, height: float) -> list[Layer]:
    back = y - 0.76 * radius
    top = z + 0.12 * height
    parts = []
    for side in (-1, 1):
        pedicle = [(side * 0.62 * radius, y - 0.4 * radius, top), (side * 11.5, back - 9, top)]
        lamina = [(side * 11.5, back - 9, top), (0, back - 20, z - 0.2 * height)]
        wing = [(side * 11.5, back - 9, top), (side * (radius + 13), back - 15, top + 3)]
        facet = [
            (side * 14, back - 12, z + 0.5 * height),
            (side * 13, back - 13, z - 0.45 * height),
        ]
        parts += [
            Tubes.along(pedicle, 5.0),
            Tubes.along(lamina, [4.5, 3.8]),
            Tubes.along(wing, [5.0, 3.6]),
            Tubes.along(facet, 4.6),
        ]
    spinous = [(0, back - 19, z - 0.1 * height), (0, back - 40, z - 0.55 * height)]
    parts.append(Tubes.along(spinous, [3.8, 4.4]))
    return bone.tubes(Tubes.join(parts))


def rib(
    wall: Blob, head: Sequence[float], side: int, drop_mm: float, reach: float
) -> NDArray[np.float64]:
    """Return the course of a rib from the spine along a chest wall.

    Args:
        wall: Surface that the rib follows.
        head: Position ``(3,)`` of the rib's head, on the right side.
        side: 1 for the right, -1 for the left.
        drop_mm: Descent of the rib in mm.
        reach: Fraction of the way from the back to the front, 1 for the midline.

    Returns:
        Points ``(N, 3)`` in mm.
    """
    start = np.asarray(head, dtype=np.float64)
    turns = np.linspace(0.12, reach, 26)
    points = [start, np.add(start, (12, -9, 2))]
    for fraction in turns:
        angle = np.pi * (fraction - 0.5)
        # Ribs are horizontal at the spine and steepest at the side.
        z = start[2] - drop_mm * (fraction**1.4)
        points.append(_on_wall(wall, np.cos(angle), np.sin(angle), z))
    path = np.asarray(points)
    path[:, 0] *= side
    return path


def _on_wall(wall: Blob, x: float, y: float, z: float) -> NDArray[np.float64]:
    a, b, c = wall.radii
    rest = max(1 - abs((z - wall.center[2]) / c) ** wall.power_z, 0.02)
    length = (rest / (abs(x / a) ** wall.power + abs(y / b) ** wall.power)) ** (1 / wall.power)
    return np.array([wall.center[0] + length * x, wall.center[1] + length * y, z])
