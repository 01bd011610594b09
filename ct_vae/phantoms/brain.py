"""Skull and brain: cortex with sulci, white matter, nuclei, ventricles and cerebellum."""

from __future__ import annotations

import numpy as np

from ct_vae.phantoms.scene import Layer, waves
from ct_vae.phantoms.shapes import Array, Blob, Level, Solid, Tubes, turn

_CSF_HU, _GRAY_HU, _WHITE_HU = 8.0, 39.0, 29.0
_FAR = 140.0


def skull(vault: Blob, cortex_hu: float) -> list[Layer]:
    """Outer table, diploe, inner table, and CSF inside."""
    return [
        Layer(vault, cortex_hu),
        Layer(vault.grown(-2.2), cortex_hu * 0.5),
        Layer(vault.grown(-5.0), cortex_hu),
        Layer(vault.grown(-7.0), _CSF_HU + 6),
    ]


def brain(vault: Blob, rng: np.random.Generator) -> list[Layer]:
    """Contents of the inner table of a skull centered near the origin."""
    surface = vault.grown(-8.5)
    folds = waves(rng, 30.0, 6)
    layers = [
        Layer(surface, _GRAY_HU),
        Layer(_solid(_white(surface, folds)), _WHITE_HU),
        Layer(_solid(_sulci(surface, folds)), _CSF_HU + 4),
        Layer(_solid(lambda p: np.maximum(np.abs(p[0]) - 1.2, 8 - p[2])), _CSF_HU + 4, surface),
    ]
    layers += _cerebellum(surface, rng)
    layers += _nuclei() + _ventricles(rng)
    falx = _solid(lambda p: np.maximum(np.abs(p[0]) - 0.7, np.maximum(22 - p[2], -p[1] - 200)))
    layers.append(Layer(falx, 62.0, surface.grown(1.5)))
    if rng.random() < 0.6:
        layers.append(Layer(Blob((0, -20, 2), (2.4, 2.8, 2.4)), rng.uniform(120, 400)))
    return layers


def _solid(level: Level) -> Solid:
    return Solid((-_FAR, -_FAR, -_FAR), (_FAR, _FAR, _FAR), level)


def _white(surface: Blob, folds: Level) -> Level:
    def level(points: Array) -> Array:
        depth = surface.level(points)
        # The gray ribbon follows the sulci for 20 mm inward.
        ribbon = np.minimum(5.5 - 9 * np.abs(folds(points)), depth + 22)
        white: Array = np.maximum(np.maximum(depth + 4.5, ribbon), 5 - np.abs(points[0]))
        return white

    return level


def _sulci(surface: Blob, folds: Level) -> Level:
    def level(points: Array) -> Array:
        depth = surface.level(points)
        narrow = 9 * np.abs(folds(points)) - 1.1 - np.float32(0.04) * depth
        sulci: Array = np.maximum(np.maximum(narrow, -(depth + 15)), depth)
        return sulci

    return level


def _cerebellum(surface: Blob, rng: np.random.Generator) -> list[Layer]:
    leaves = waves(rng, 26.0, 3)
    layers = []
    tent = Blob((0, -48, -34), (58, 40, 27))
    layers.append(Layer(tent.grown(2.0), _CSF_HU + 8, surface))
    for side in (-1, 1):
        lobe = Blob((side * 24, -52, -36), (27, 29, 22))
        layers.append(Layer(lobe, _GRAY_HU + 1, surface))
        layers.append(Layer(lobe.grown(-9), _WHITE_HU + 3))

        def folia(points: Array, lobe: Blob = lobe) -> Array:
            stripes = 4 * np.abs(np.sin(points[2] / 2.6 + leaves(points))) - 0.5
            depth = lobe.level(points)
            gaps: Array = np.maximum(np.maximum(stripes, depth), -depth - 4)
            return gaps

        layers.append(Layer(_solid(folia), _CSF_HU + 14, surface))
    worm = Blob((0, -50, -30), (9, 24, 20))
    stem = Tubes.along([(0, -8, -4), (0, -12, -26), (0, -22, -52), (0, -30, -90)], [13, 14, 9, 6])
    layers += [Layer(worm, _GRAY_HU), Layer(stem.grown(4), _CSF_HU + 4, surface.grown(6))]
    layers += [Layer(stem, _WHITE_HU + 3), Layer(Blob((0, -30, -34), (7, 5, 9)), _CSF_HU)]
    return layers


def _nuclei() -> list[Layer]:
    layers = []
    for side in (-1, 1):
        layers += [
            Layer(Blob((side * 12, -10, 6), (8.5, 14, 9), turn(z_deg=side * 25.0)), _GRAY_HU + 1),
            Layer(Blob((side * 25, 8, 4), (6.5, 16, 11), turn(z_deg=side * -14.0)), _GRAY_HU + 2),
            Layer(Blob((side * 14, 22, 10), (5.5, 9, 9)), _GRAY_HU + 1),
            Layer(Blob((side * 38, 6, 4), (2.6, 20, 14), turn(z_deg=side * -8.0)), _GRAY_HU),
        ]
    return layers


def _ventricles(rng: np.random.Generator) -> list[Layer]:
    size = rng.uniform(0.75, 1.35)
    parts = []
    for side in (-1, 1):
        body = [
            (side * 9, 32, 8),
            (side * 8, 20, 16),
            (side * 8, 4, 22),
            (side * 10, -16, 22),
            (side * 20, -34, 14),
            (side * 25, -50, 8),
        ]
        horn = [(side * 20, -34, 14), (side * 32, -26, -4), (side * 33, -8, -16)]
        parts += [
            Tubes.along(body, np.array([3.5, 5.5, 5.5, 6, 7, 3]) * size),
            Tubes.along(horn, np.array([6, 3.5, 2]) * size),
        ]
    third = Blob((0, -4, 2), (1.9 * size, 14, 9))
    layers = [Layer(Tubes.join(parts), _CSF_HU), Layer(third, _CSF_HU)]
    for side in (-1, 1):
        plexus = Blob((side * 21, -36, 12), (2.2, 4, 2.6))
        layers.append(Layer(plexus, rng.uniform(45, 250)))
    septum = Blob((0, 18, 15), (0.8, 16, 6))
    return [*layers, Layer(septum, _WHITE_HU)]
