"""Scenes without motion."""

from collections.abc import Sequence

import numpy as np

from ct_vae.phantoms.scene import Layer, Scene, render
from ct_vae.phantoms.shapes import Pose


def still() -> Pose:
    """A pose without rotation, shift and warp."""
    none = np.zeros((0, 3))
    return Pose(np.zeros(3), np.eye(3), none, none, np.zeros(0))


def drawn(layers: Sequence[Layer], size_mm: float = 300.0, spacing_mm: float = 3.0):
    """Render layers on a cube around the origin of the body frame, in HU."""
    side = round(size_mm / spacing_mm)
    return render(Scene(still(), (size_mm,) * 3, tuple(layers)), (side,) * 3, (spacing_mm,) * 3)


def at(picture, point, size_mm: float = 300.0):
    """Return the value of a picture of `drawn` at a point of the body frame in mm."""
    step = size_mm / picture.shape[0]
    return picture[tuple(int((x + size_mm / 2) // step) for x in point)]
