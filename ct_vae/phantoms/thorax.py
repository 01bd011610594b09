"""Thorax phantom: lungs with vessels and airways, heart, great vessels and upper abdomen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ct_vae.phantoms.scene import Layer, Scene, grow_tree, mottle, random_pose
from ct_vae.phantoms.shapes import Array, Blob, Solid, Tubes, smooth_max, turn
from ct_vae.phantoms.skeleton import spine
from ct_vae.phantoms.trunk import Tissue, Trunk, back_muscles, ribs

_SIZE_MM = (360.0, 280.0, 300.0)


def thorax(rng: np.random.Generator) -> Scene:
    """Draw a random patient; the origin of the body frame is the middle of the chest."""
    tissue = Tissue.draw(rng)
    trunk = _trunk(rng)
    lungs = {side: _lung(trunk.cavity, side, rng) for side in (-1, 1)}
    layers = trunk.layers(tissue, rng)
    layers += back_muscles(tissue, _spine_y(trunk, 0.0), 1.0, 400.0)
    layers.append(Layer(trunk.cavity, tissue.fat + 10))
    layers += _below_diaphragm(tissue, trunk, rng)
    for side, lung in lungs.items():
        layers += _lung_layers(tissue, lung, side, rng)
    layers += _mediastinum(tissue, trunk, rng)
    layers += _skeleton(tissue, trunk, rng)
    return Scene(random_pose(rng, (0.0, 0.0, -120.0)), _SIZE_MM, tuple(layers))


def _trunk(rng: np.random.Generator) -> Trunk:
    width, depth = rng.uniform(126, 140), rng.uniform(84, 96)
    cavity = Blob((0, 4, -70), (width, depth, rng.uniform(196, 206)), None, 2.3, 3)
    thick = rng.uniform(11, 14)
    wall = Blob((0, 1, -70), (width + thick, depth + thick, 420), None, 2.4, 4)
    fat_x, fat_y = rng.uniform(8, 18), rng.uniform(6, 13)
    skin = Blob((0, 0, -70), (width + thick + fat_x, depth + thick + fat_y, 430), None, 2.4, 4)
    return Trunk(skin, wall, cavity)


def _spine_y(trunk: Trunk, z: float) -> float:
    back = trunk.cavity.center[1] - trunk.cavity.radii[1]
    return back + 20 + 0.0005 * z * z


def _dome(side: int) -> Blob:
    top = -62.0 if side > 0 else -76.0
    return Blob((side * 64.0, 6.0, top - 120), (72, 88, 120), None, 2.0, 2.0)


def _heart() -> Blob:
    return Blob((-26, 24, -42), (46, 58, 44), turn(x_deg=20, y_deg=25, z_deg=38))


def _lung(cavity: Blob, side: int, rng: np.random.Generator) -> Solid:
    """Lung of one side, bounded by chest wall, mediastinum and diaphragm."""
    heart, dome = _heart().grown(4.0), _dome(side)
    back = cavity.center[1] - cavity.radii[1]
    column = Blob((0, back + 12, 0), (21, 24, 600), None, 2.5, 4)
    middle = Blob((-side * 3.0, 4, 45), (27 + rng.uniform(-2, 3), 52, 120), None, 2, 4)
    inner = cavity.grown(-4.0)

    def level(points: Array) -> Array:
        x, y, z = points
        near_middle = 4 - side * x
        bottom = np.float32(-118) + np.float32(0.3) * y - z
        parts = [heart, dome, column, middle]
        outside = [-part.level(points) for part in parts]
        return smooth_max(inner.level(points), near_middle, bottom, *outside, mm=6.0)

    a, b, c = cavity.radii
    low_x, high_x = (0.0, a) if side > 0 else (-a, 0.0)
    return Solid((low_x, -b, -180.0), (high_x, b + 8, c), level)


def _lung_layers(tissue: Tissue, lung: Solid, side: int, rng: np.random.Generator) -> list[Layer]:
    def parenchyma(points: Array) -> Array:
        # Gravity increases density towards the back, by about 60 HU in a supine patient.
        hu: Array = np.float32(tissue.lung) - np.float32(0.35) * points[1]
        return hu

    hilum = np.array([side * 30.0, -8.0, 12.0])
    layers = [Layer(lung, parenchyma)]
    fissure = _fissure(side)
    layers.append(Layer(fissure, -760.0, lung))
    arteries, veins, airways = [], [], []
    for direction in _lobes(side, rng):
        start = hilum + rng.normal(0, 3, size=3)
        arteries.append(grow_tree(rng, start, direction, 34.0, 4.6, 7))
        turned = direction + rng.normal(0, 0.25, size=3)
        veins.append(grow_tree(rng, np.add(start, (0, 4, -14)), turned, 36.0, 4.0, 7))
        airways.append(grow_tree(rng, np.add(start, (0, -5, 3)), direction, 24.0, 3.6, 4))
    layers.append(Layer(Tubes.join(arteries).near(lung.level, 6.0), tissue.blood - 10, lung))
    layers.append(Layer(Tubes.join(veins).near(lung.level, 6.0), tissue.blood, lung))
    bronchi = Tubes.join(airways).near(lung.level, 6.0)
    layers.append(Layer(bronchi.grown(1.1), 0.0, lung))
    layers.append(Layer(bronchi, -990.0, lung))
    for _ in range(int(rng.integers(0, 3))):
        center = (side * rng.uniform(50, 100), rng.uniform(-50, 50), rng.uniform(-60, 80))
        radius = rng.uniform(2.5, 7)
        layers.append(Layer(Blob(center, (radius, radius, radius)), rng.uniform(0, 50), lung))
    return layers


def _lobes(side: int, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    lobes = [(0.5, 0.1, 1.3), (0.8, 0.8, 0.5), (0.7, -0.7, 0.5), (0.9, 0.9, -0.5)]
    lobes += [(0.6, 0.1, -1.3), (0.7, -0.8, -0.9), (1.0, -0.4, -0.3), (0.4, -0.6, 0.9)]
    return [np.array([side * x, y, z]) + rng.normal(0, 0.15, 3) for x, y, z in lobes]


def _fissure(side: int) -> Solid:
    def level(points: Array) -> Array:
        _, y, z = points
        # The oblique fissure runs from high at the back to the front of the diaphragm.
        off = np.abs(z + np.float32(0.9) * y + np.float32(10) * np.sin(y / 25))
        sheet: Array = off / np.float32(1.35) - np.float32(0.6)
        return sheet

    x = (0.0, 160.0) if side > 0 else (-160.0, 0.0)
    return Solid((x[0], -120.0, -140.0), (x[1], 120.0, 140.0), level)


def _mediastinum(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    layers = _heart_layers(tissue)
    y = _spine_y(trunk, 0.0)
    aorta_r = rng.uniform(11, 13.5)
    angles = np.linspace(0, np.pi, 12)
    front, back = 14.0, y + 16
    arch = [
        (
            4 - 9 * (1 - np.cos(t)),
            (front + back) / 2 + (front - back) / 2 * np.cos(t),
            48 + 20 * np.sin(t),
        )
        for t in angles
    ]
    root = [(-10.0, 18.0, -16.0), (2.0, 18.0, 8.0), (5.0, 16.0, 30.0)]
    descending = [
        (-15.0, y + 15, 20.0),
        (-17.0, y + 14, -60.0),
        (-11.0, y + 20, -170.0),
        (-6.0, y + 24, -260.0),
    ]
    aorta = Tubes.along(
        np.array(root + arch + descending), np.linspace(aorta_r + 3, aorta_r - 2, 19)
    )
    pulmonary = [
        Tubes.along([(-20, 34, -6), (-16, 26, 14), (-16, 8, 22), (-36, -6, 18)], [14, 13, 11, 8]),
        Tubes.along([(-16, 14, 22), (8, 4, 17), (34, -6, 12)], [11, 10, 8]),
        Tubes.along([(-34, -8, -8), (0, -14, -14), (34, -8, -8)], [6, 9, 6]),
    ]
    cava = Tubes.along([(22, 10, 110), (20, 12, 60), (20, 10, 0), (17, 4, -20)], [7, 8.5, 9, 10])
    branches = [
        Tubes.along([(2, 12, 66), (8, 14, 90), (17, 8, 150)], [6, 5.5, 5]),
        Tubes.along([(-4, 2, 68), (-10, 4, 95), (-14, 2, 150)], [4, 3.8, 3.5]),
        Tubes.along([(-7, -10, 66), (-15, -12, 95), (-26, -14, 150)], [4.5, 4.5, 4]),
        Tubes.along([(20, 12, 72), (-4, 24, 84), (-28, 18, 108)], [7, 6.5, 6]),
    ]
    vessels = Tubes.join([aorta, *pulmonary, cava, *branches])
    layers.append(Layer(vessels.grown(1.0), 40.0))
    layers.append(Layer(vessels, tissue.blood))
    return layers + _airway() + _gullet_and_nodes(y, rng)


def _gullet_and_nodes(y: float, rng: np.random.Generator) -> list[Layer]:
    gullet = Tubes.along(
        [(-4, y + 22, 160), (-5, y + 20, 60), (-6, y + 22, -40), (-16, y + 34, -110)],
        [6, 6.5, 7, 8],
    )
    layers = [Layer(gullet, 35.0), Layer(gullet.grown(-4.8), -600.0)]
    for node in ((12, 2, 38), (-22, 0, 34), (2, -12, 4), (12, 20, 44), (-24, 22, 40)):
        a, b, c = rng.uniform(2.5, 4.5, size=3).tolist()
        layers.append(Layer(Blob(node, (a, b, c)), 45.0))
    return layers


def _heart_layers(tissue: Tissue) -> list[Layer]:
    heart = _heart()
    frame = heart.rotation

    def placed(offset: Sequence[float], radii: tuple[float, float, float]) -> Blob:
        x, y, z = (np.asarray(heart.center) + frame @ np.asarray(offset)).tolist()
        return Blob((x, y, z), radii, frame)

    left = placed((-12, 6, -2), (23, 42, 25))
    return [
        Layer(heart.grown(3), 15.0),
        Layer(heart.grown(2), tissue.fat),
        Layer(placed((1, 0, 0), (41, 52, 39)), tissue.heart),
        Layer(placed((18, 14, 2), (17, 34, 27)), tissue.blood),
        Layer(placed((20, -28, 2), (20, 21, 26)), tissue.blood),
        Layer(placed((-10, -34, 6), (25, 17, 23)), tissue.blood + 5),
        Layer(left.grown(8), tissue.heart + 5),
        Layer(left, tissue.blood + 5),
        Layer(placed((-20, 16, -8), (4, 10, 4)), tissue.heart),
        Layer(placed((-4, 20, 10), (4, 9, 4)), tissue.heart),
    ]


def _airway() -> list[Layer]:
    carina = (0.0, -6.0, 30.0)
    tubes = Tubes.join(
        [
            Tubes.along([(0, 8, 170), (0, 2, 90), carina], [8.5, 8.5, 8.5]),
            Tubes.along([carina, (16, -10, 14), (32, -13, 5), (46, -18, -12)], [7.5, 6.5, 5.6, 4]),
            Tubes.along([carina, (-18, -11, 14), (-36, -14, 0), (-46, -20, -18)], [7, 6, 5.2, 4]),
        ]
    )
    return [Layer(tubes.grown(1.6), 40.0), Layer(tubes, -995.0)]


def _below_diaphragm(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    cavity = trunk.cavity.grown(-5.0)
    right, left = _dome(1), _dome(-1)
    liver = right.grown((10, -3, -3))
    lobe = Blob((0, 40, -130), (62, 40, 44), turn(y_deg=-14))
    spleen = Blob((-88, -34, -128), (24, 38, 44), turn(z_deg=28))
    stomach = Blob((-52, 24, -122), (34, 38, 40), turn(z_deg=-20))
    gas = stomach.grown(-4)
    level = stomach.center[1] + 12

    def bubble(points: Array) -> Array:
        return smooth_max(gas.level(points), np.float32(level) - points[1], mm=1.0)

    layers = [
        Layer(right, tissue.muscle, cavity),
        Layer(left, tissue.muscle, cavity),
        Layer(left.grown(-3), tissue.fat, cavity),
        Layer(liver, mottle(rng, tissue.liver, 3, 60.0), cavity),
        Layer(lobe, mottle(rng, tissue.liver, 3, 60.0), cavity),
        Layer(spleen, tissue.spleen, cavity),
        Layer(stomach, tissue.bowel, cavity),
        Layer(gas, 15.0),
        Layer(Solid((-100.0, 0.0, -180.0), (0.0, 80.0, -70.0), bubble), -985.0),
    ]
    veins = [
        grow_tree(rng, (16, 0, -90), direction, 26.0, 4.5, 6)
        for direction in ((1, 0.1, -0.4), (0.6, 0.9, -0.6), (0.7, -0.7, -0.7))
    ]
    layers.append(Layer(Tubes.join(veins), tissue.blood, liver))
    return layers


def _skeleton(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    bone = tissue.bone
    pitch = rng.uniform(23, 26)
    shift = rng.uniform(-10, 10)
    levels = [shift + pitch * n for n in range(-8, 8)]

    def curve(z: float) -> float:
        return _spine_y(trunk, z)

    layers = spine(bone, levels, pitch, rng.uniform(16, 18), curve)
    heads = [(15.0, curve(z) - 4, z + 8) for z in levels if -190 < z < 125]
    drops = [float(np.clip(70 - 0.25 * head[2], 30, 85)) for head in heads]
    layers += ribs(bone, trunk.cavity.grown(5.5), heads, drops, 0.86)
    front = trunk.cavity.center[1] + trunk.cavity.radii[1]
    sternum = Blob((0, front + 4, 0), (16, 6.5, 72), turn(x_deg=6), 3, 6)
    manubrium = Blob((0, front - 8, 84), (25, 7.5, 24), turn(x_deg=16), 3, 3)
    layers += bone.solid(sternum) + bone.solid(manubrium)
    for side in (-1, 1):
        clavicle = Tubes.along(
            [
                (side * 24, front - 14, 100),
                (side * 70, front - 30, 122),
                (side * 120, front - 60, 140),
            ],
            [8, 6.5, 6.5],
        )
        layers += bone.tubes(clavicle)
        plate = Blob((side * 96, -66, 75), (40, 4.6, 62), turn(z_deg=side * 34.0), 2, 3)
        ridge = Tubes.along([(side * 70, -92, 110), (side * 128, -72, 128)], 5.5)
        layers += bone.solid(plate) + bone.tubes(ridge)
    return layers
