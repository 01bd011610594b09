"""Head phantom: face with sinuses, teeth and eyes, skull base and neck, without contrast."""

from __future__ import annotations

import numpy as np

from ct_vae.phantoms.brain import brain, skull
from ct_vae.phantoms.scene import Layer, Paint, Scene, random_pose
from ct_vae.phantoms.shapes import Array, Blob, Solid, Tubes, smooth_max, turn
from ct_vae.phantoms.skeleton import Bone, spine

_SIZE_MM = (210.0, 250.0, 224.0)
_FAT_HU, _MUSCLE_HU, _AIR_HU = -95.0, 58.0, -990.0


def head(rng: np.random.Generator) -> Scene:
    """Draw a random patient; the origin of the body frame is the center of the brain."""
    bone = Bone(rng.uniform(950, 1200), rng.uniform(320, 420), 1.6)
    vault = _vault(rng)
    layers = _holder(rng) + _soft_tissue(vault, rng)
    layers += _neck(bone) + _jaws(bone, rng)
    layers += _skull_base(bone)
    layers += skull(vault, bone.cortex_hu) + _petrous(bone, rng) + brain(vault, rng)
    for side in (-1, 1):
        layers += _orbit(bone, side)
    layers += _sinuses(bone, vault, rng)
    return Scene(random_pose(rng, (0.0, 0.0, 190.0), 1.5), _SIZE_MM, tuple(layers))


def _vault(rng: np.random.Generator) -> Blob:
    a, b, c = rng.uniform((68, 85, 70), (74, 93, 76)).tolist()
    return Blob((0, -6, 8), (a, b, c), None, 2.2, 2.2)


def _holder(rng: np.random.Generator) -> list[Layer]:
    reach = rng.uniform(112, 118)

    def shell(first: float, last: float) -> Solid:
        def level(points: Array) -> Array:
            radius = np.sqrt(points[0] ** 2 + (points[1] - 4) ** 2)
            return smooth_max(first - radius, radius - last, points[1] + 45, mm=1.0)

        return Solid((-140.0, -140.0, -400.0), (140.0, 0.0, 400.0), level)

    return [Layer(shell(reach - 9, reach), -940.0), Layer(shell(reach, reach + 4), -120.0)]


def _soft_tissue(vault: Blob, rng: np.random.Generator) -> list[Layer]:
    scalp = vault.grown(rng.uniform(5.5, 8))
    wide = rng.uniform(0.94, 1.06)
    parts = [
        scalp,
        Blob((0, 34, -52), (64 * wide, 58, 78), None, 2.3, 2.3),
        Blob((0, -8, -66), (62 * wide, 58, 40), None, 2.3, 2.3),
        Blob((0, 50, -98), (44 * wide, 46, 30), None, 2.4, 2),
        Blob((0, -26, -160), (56 * wide, 58, 110), None, 2.2, 4),
    ]

    def surface(points: Array) -> Array:
        return -smooth_max(*[-part.level(points) for part in parts], mm=16.0)

    def layer(depth: float, hu: float) -> Layer:
        box = (-110.0, -130.0, -300.0), (110.0, 130.0, 110.0)
        return Layer(Solid(*box, lambda p: surface(p) + np.float32(depth)), hu)

    nose = Tubes.along([(0, 82, -22), (0, 96, -44), (0, 100, -52)], [7, 11, 12])
    layers = [Layer(nose, 20.0)]
    for side in (-1, 1):
        ear = Blob((side * 80, -16, -30), (3.4, 15, 28), turn(x_deg=10, z_deg=side * 24.0))
        layers.append(Layer(ear, 30.0))
    layers += [layer(0.0, 30.0), layer(2.0, _FAT_HU), layer(5.5, _MUSCLE_HU)]
    layers += _face_muscles(vault)
    return layers


def _face_muscles(vault: Blob) -> list[Layer]:
    layers = []
    for side in (-1, 1):
        cheek = Blob((side * 42, 48, -64), (14, 24, 24))
        temporal = Blob((side * (vault.radii[0] + 1), 26, -4), (7, 26, 34))
        chewing = Tubes.along([(side * 55, 30, -44), (side * 49, 18, -92)], [7.5, 8])
        gland = Blob((side * 54, -4, -62), (8, 15, 20))
        layers += [
            Layer(cheek, _FAT_HU),
            Layer(temporal.grown(2), _FAT_HU),
            Layer(temporal, _MUSCLE_HU + 4),
            Layer(chewing.grown(2), _FAT_HU),
            Layer(chewing, _MUSCLE_HU + 5),
            Layer(gland, 5.0),
        ]
    return layers


def _neck(bone: Bone) -> list[Layer]:
    layers = []
    for side in (-1, 1):
        for path, radius in (
            ([(side * 16, -52, -50), (side * 18, -58, -160)], 13.0),
            ([(side * 34, -46, -50), (side * 36, -48, -160)], 12.0),
            ([(side * 46, -20, -48), (side * 40, 4, -160)], 8.0),
            ([(side * 26, -14, -70), (side * 30, -18, -160)], 8.0),
        ):
            muscle = Tubes.along(path, radius)
            layers += [Layer(muscle.grown(1.2), _FAT_HU), Layer(muscle, _MUSCLE_HU + 4)]
        sheath = Tubes.along([(side * 32, 2, -50), (side * 32, 4, -160)], 9.0)
        carotid = Tubes.along([(side * 27, 4, -50), (side * 26, 6, -160)], 3.6)
        jugular = Tubes.along([(side * 36, -2, -50), (side * 36, 0, -160)], 5.5)
        layers += [Layer(sheath, _FAT_HU), Layer(carotid, 44.0), Layer(jugular, 42.0)]
    levels = [-78.0 - 18 * n for n in range(7)]
    layers += spine(bone, levels, 18.0, 10.5, lambda z: -24 - 0.0012 * (z + 110) ** 2)
    dens = Blob((0, -22, -66), (5.5, 5.5, 12))
    atlas = Tubes.along(
        [(17 * np.cos(t), -33 + 21 * np.sin(t), -62) for t in np.linspace(0, 2 * np.pi, 17)], 4.8
    )
    return layers + bone.tubes(atlas) + bone.solid(dens)


def _jaws(bone: Bone, rng: np.random.Generator) -> list[Layer]:
    tongue = Blob((0, 44, -86), (24, 32, 18))
    layers = [Layer(tongue.grown(3), _FAT_HU), Layer(tongue, _MUSCLE_HU + 6)]
    angles = np.linspace(-1.32, 1.32, 15)
    arch = np.stack([35 * np.sin(angles), 42 + 42 * np.cos(angles) - 6, 0 * angles], axis=1)
    ramus = np.array([(48.0, -2, -44), (47, 4, -80), (44, 16, -98)])
    chin = np.add(arch[::-1] * (1.08, 1, 1), (0, 0, -106))
    mandible = np.concatenate([ramus, chin, ramus[::-1] * (-1, 1, 1)])
    layers += bone.tubes(Tubes.along(mandible, 6.4))
    upper = np.add(arch, (0, 0, -70))
    layers += bone.tubes(Tubes.along(upper, 6.0))
    palate = Blob((0, 48, -66), (30, 34, 2.2))
    layers.append(Layer(palate, bone.cortex_hu * 0.8))
    for x, y, _ in arch:
        enamel = rng.uniform(2000, 2700)
        missing = rng.random() < 0.08
        for z, root in ((-79, 9), (-90, -9)):
            tooth = Tubes.along([(x, y, z), (x, y, z + root)], [3.6, 2.4])
            if not missing:
                layers += [Layer(tooth, enamel), Layer(tooth.grown(-2.2), 1300.0)]
    hyoid = Tubes.along([(-18, 14, -122), (-10, 28, -126), (10, 28, -126), (18, 14, -122)], 2.6)
    return layers + bone.tubes(hyoid)


def _skull_base(bone: Bone) -> list[Layer]:
    """Zygomatic bones, maxilla and sphenoid, from which the sinuses are carved."""
    layers = []
    middle = Blob((0, 44, -40), (20, 36, 26), None, 3, 3)
    layers.append(Layer(middle, bone.marrow_hu * 0.5))
    clivus = Tubes.along([(0, 12, -30), (0, -10, -58)], [9, 6])
    layers += bone.tubes(clivus)
    for side in (-1, 1):
        arch = Tubes.along(
            [
                (side * 24, 76, -44),
                (side * 44, 66, -42),
                (side * 58, 42, -40),
                (side * 64, 14, -40),
            ],
            [5, 6, 4, 3.5],
        )
        sphenoid = Blob((side * 38, 26, -30), (22, 6, 18), turn(z_deg=side * -30.0))
        process = Tubes.along([(side * 14, 12, -50), (side * 16, 10, -72)], [4, 3])
        for layer in (bone.tubes(arch), bone.solid(sphenoid), bone.tubes(process)):
            layers += layer
    return layers


def _petrous(bone: Bone, rng: np.random.Generator) -> list[Layer]:
    """Petrous pyramids and mastoids: the densest bone, with small air cells."""
    layers = []
    for side in (-1, 1):
        frame = turn(z_deg=side * -32.0)
        pyramid = Blob((side * 36, -10, -44), (30, 10, 12), frame, 2.2, 2.2)
        mastoid = Blob((side * 54, -24, -52), (11, 15, 20))
        layers += [Layer(mastoid, bone.cortex_hu * 0.6), Layer(pyramid, bone.cortex_hu * 1.25)]
        for _ in range(60):
            x, y, z = (rng.normal(size=3) * (3.8, 5.2, 7)).tolist()
            size = rng.uniform(1.2, 2.8)
            cell = Blob((side * (54 + x), -24 + y, -52 + z), (size, size, size))
            layers.append(Layer(cell, -850.0, mastoid))
        canal = Tubes.along([(side * 84, -12, -46), (side * 50, -10, -46)], [3.6, 4.4])
        inner = Tubes.along([(side * 8, -12, -42), (side * 26, -14, -43)], [3, 2.4])
        layers += [Layer(canal, _AIR_HU), Layer(inner, 10.0)]
    return layers


def _orbit(bone: Bone, side: int) -> list[Layer]:
    eye = Blob((side * 32, 68, -22), (12, 12, 12))
    socket = Blob((side * 30, 58, -22), (20, 28, 18), turn(z_deg=side * -18.0))
    open_front = Blob((side * 33, 82, -22), (19, 16, 14))
    apex = np.array([side * 16.0, 32.0, -22.0])
    layers = [
        Layer(socket.grown(2), bone.cortex_hu * 0.8),
        Layer(socket, _FAT_HU),
        Layer(open_front, 35.0),
        Layer(open_front.grown((-3, -4, -3)), _FAT_HU),
    ]
    back = np.add(eye.center, (-side * 5, -10, 0))
    for offset in np.array([(-11, -2, 0), (11, -2, 0), (0, -2, -11), (0, -2, 11)]):
        rectus = Tubes.along([apex + 0.3 * offset, back + offset], [2, 2.6])
        layers.append(Layer(rectus, _MUSCLE_HU))
    layers += [
        Layer(Tubes.along([apex, back], 2.4), 40.0),
        Layer(eye, 45.0),
        Layer(eye.grown(-1.3), 12.0),
        Layer(Blob((side * 32, 76, -22), (4.6, 2.4, 4.6)), 95.0),
    ]
    return layers


def _sinuses(bone: Bone, vault: Blob, rng: np.random.Generator) -> list[Layer]:
    layers = []
    full = rng.random() < 0.3
    forehead = vault.center[1] + vault.radii[1] - 6.5
    for side in (-1, 1):
        size = rng.uniform(0.8, 1.15)
        maxillary = Blob((side * 27, 52, -55), (14 * size, 17 * size, 15 * size), None, 2.5, 2.5)
        frontal = Blob((side * 12, forehead, 2), (11 * size, 4.5, 11 * size))
        sphenoid = Blob((side * 9, 22, -32), (8 * size, 11, 8))
        for cavity in (maxillary, frontal, sphenoid):
            layers += [Layer(cavity.grown(1.5), bone.cortex_hu * 0.9), Layer(cavity, _AIR_HU)]
        if full:
            layers.append(Layer(maxillary, _fluid(rng.uniform(-8, 4) + 52), maxillary))
        for y in np.arange(40, 74, 8.0):
            for z in (-34.0, -26.0, -18.0):
                cell = Blob((side * 7, y, z + rng.uniform(-1, 1)), (4.6, 3.4, 3.4))
                layers += [Layer(cell.grown(0.7), 350.0), Layer(cell, _AIR_HU)]
    cavity = Blob((0, 52, -52), (13, 34, 15), None, 3, 3)
    layers += [Layer(cavity.grown(1.5), 300.0), Layer(cavity, _AIR_HU)]
    bend = rng.uniform(-3, 3)
    septum = Solid(
        (-8.0, 20.0, -68.0),
        (8.0, 92.0, -36.0),
        lambda p: np.abs(p[0] - np.float32(bend) * np.sin(p[1] / 14)) - np.float32(1.1),
    )
    layers.append(Layer(septum, 180.0, cavity.grown(1.0)))
    for side in (-1, 1):
        for z, radius in ((-60, 4.2), (-48, 3.2)):
            turbinate = Tubes.along([(side * 8.5, 72, z), (side * 8.5, 34, z)], radius)
            layers += [Layer(turbinate, 60.0, cavity), Layer(turbinate.grown(-2.6), 300.0, cavity)]
        nostril = Tubes.along([(side * 6, 96, -62), (side * 6, 80, -52)], [4, 4.5])
        layers.append(Layer(nostril, _AIR_HU))
    throat = Tubes.along(
        [(0, 24, -54), (0, 8, -62), (0, 2, -84), (0, 6, -120), (0, 8, -170)], [11, 10, 8, 8.5, 9]
    )
    return [*layers, Layer(throat.grown(2), 50.0), Layer(throat, _AIR_HU)]


def _fluid(y_mm: float) -> Paint:
    def paint(points: Array) -> Array:
        return np.where(points[1] < y_mm, np.float32(18.0), np.float32(_AIR_HU))

    return paint
