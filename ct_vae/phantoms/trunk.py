"""Common parts of thorax and abdomen: tissues, skin, fat, muscle, couch and ribs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ct_vae.phantoms.scene import Layer
from ct_vae.phantoms.shapes import Array, Blob, Solid, Tubes, turn
from ct_vae.phantoms.skeleton import Bone, rib


@dataclass(frozen=True)
class Tissue:
    """HU of one patient's tissues, in the portal venous phase for blood and organs."""

    fat: float
    muscle: float
    blood: float
    heart: float
    lung: float
    liver: float
    spleen: float
    kidney: float
    bowel: float
    bone: Bone

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Tissue:
        """Draw HU in the ranges of a healthy adult."""
        blood = rng.uniform(125, 170)
        return cls(
            fat=rng.uniform(-112, -98),
            muscle=rng.uniform(50, 65),
            blood=blood,
            heart=rng.uniform(85, 105),
            lung=rng.uniform(-875, -830),
            liver=rng.uniform(90, 120),
            spleen=rng.uniform(105, 130),
            kidney=rng.uniform(150, 185),
            bowel=rng.uniform(70, 100),
            bone=Bone(rng.uniform(750, 1000), rng.uniform(230, 290), rng.uniform(1.7, 2.1)),
        )


@dataclass(frozen=True)
class Trunk:
    """Nested cross-sections of a trunk.

    Attributes:
        skin: Outer surface of the skin.
        wall: Outer surface of the muscles under the fat.
        cavity: Inner surface of the wall: pleura or peritoneum.
    """

    skin: Blob
    wall: Blob
    cavity: Blob

    def layers(self, tissue: Tissue, rng: np.random.Generator) -> list[Layer]:
        """Return couch, skin, fat, the muscles of the wall with fat in between, and the back."""
        between = (self.wall.radii[0] - self.cavity.radii[0]) / 2
        back = self.skin.center[1] - self.skin.radii[1]
        layers = couch(back - rng.uniform(3, 6))
        layers += [
            Layer(self.skin, 25.0),
            Layer(self.skin.grown((-2, -2, 0)), tissue.fat),
            Layer(self.wall, tissue.muscle),
            Layer(self.wall.grown((-between, -between * 0.8, 0)), tissue.fat),
            Layer(self.wall.grown((-between - 1.5, -between * 0.8 - 1.5, 0)), tissue.muscle),
        ]
        return layers


def couch(top_mm: float) -> list[Layer]:
    """Return a curved carbon-fiber couch with a foam core and the given top height."""
    low, high = (-260.0, top_mm - 60.0, -2000.0), (260.0, top_mm + 80.0, 2000.0)

    def depth(points: Array) -> Array:
        # Cylinder of 480 mm radius: the couch rises towards its edges.
        sag: Array = top_mm + points[0] ** 2 / np.float32(960) - points[1]
        return sag

    def slab(first: float, last: float, half: float) -> Solid:
        def level(points: Array) -> Array:
            under = depth(points)
            across = np.abs(points[0]) - np.float32(half)
            plate: Array = np.maximum(np.maximum(first - under, under - last), across)
            return plate

        return Solid(low, high, level)

    return [Layer(slab(0, 24, 215), -250.0), Layer(slab(1.5, 22.5, 213), -940.0)]


def back_muscles(tissue: Tissue, spine_y: float, scale: float, height: float) -> list[Layer]:
    """Return the erector spinae on both sides of the spinous processes, surrounded by fat."""
    layers = []
    for side in (-1, 1):
        for x, dy, radii in ((24, -38, (20, 14)), (46, -34, (15, 12))):
            a, b = radii[0] * scale, radii[1] * scale
            center = (side * x * scale, spine_y + dy * scale, 0.0)
            muscle = Blob(center, (a, b, height), turn(z_deg=-12.0 * side), 2.4, 4)
            layers.append(Layer(muscle.grown((1.5, 1.5, 0)), tissue.fat))
            layers.append(Layer(muscle, tissue.muscle + 3))
    return layers


def ribs(
    bone: Bone,
    wall: Blob,
    heads: Sequence[Sequence[float]],
    drops_mm: Sequence[float],
    reach: float,
) -> list[Layer]:
    """Return pairs of ribs with costal cartilage in front, on a wall."""
    courses = [
        rib(wall, head, side, drop, reach)
        for head, drop in zip(heads, drops_mm, strict=True)
        for side in (-1, 1)
    ]
    hard = Tubes.join([Tubes.along(path, np.linspace(5.2, 5.8, len(path))) for path in courses])
    return bone.tubes(hard)
