"""Abdomen phantom: lung bases, organs, vessels, bowel with gas, lumbar spine and pelvis."""

from __future__ import annotations

import numpy as np

from ct_vae.phantoms.bowel import colon, small_bowel, stomach
from ct_vae.phantoms.scene import Layer, Scene, grow_tree, mottle, random_pose
from ct_vae.phantoms.shapes import Array, Blob, Solid, Tubes, smooth_max, turn
from ct_vae.phantoms.skeleton import spine
from ct_vae.phantoms.trunk import Tissue, Trunk, back_muscles, ribs

_SIZE_MM = (380.0, 280.0, 300.0)


def abdomen(rng: np.random.Generator) -> Scene:
    """Draw a random patient; the body frame's origin is in front of the second lumbar vertebra."""
    tissue = Tissue.draw(rng)
    trunk = _trunk(rng)
    layers = trunk.layers(tissue, rng)
    layers += back_muscles(tissue, _spine_y(trunk, 0.0), 1.15, 420.0)
    layers += _wall_muscles(tissue, trunk)
    layers.append(Layer(trunk.cavity, tissue.fat))
    layers += _psoas(tissue, trunk)
    layers += _great_vessels(tissue, trunk, rng)
    layers += _kidneys(tissue, trunk, rng)
    layers += _upper_organs(tissue, trunk, rng)
    layers += small_bowel(tissue, trunk.cavity, rng) + colon(tissue, trunk.cavity, rng)
    layers += _skeleton(tissue, trunk, rng)
    return Scene(random_pose(rng, (0.0, 0.0, -380.0)), _SIZE_MM, tuple(layers))


def _trunk(rng: np.random.Generator) -> Trunk:
    width, depth = rng.uniform(124, 136), rng.uniform(78, 90)
    cavity = Blob((0, 6, 0), (width, depth, 420), None, 2.4, 4)
    thick = rng.uniform(13, 17)
    wall = Blob((0, 1, 0), (width + thick, depth + thick - 2, 430), None, 2.4, 4)
    fat_x, fat_y = rng.uniform(9, 26), rng.uniform(7, 18)
    skin = Blob((0, 1, 0), (width + thick + fat_x, depth + thick + fat_y, 440), None, 2.4, 4)
    return Trunk(skin, wall, cavity)


def _spine_y(trunk: Trunk, z: float) -> float:
    back = trunk.cavity.center[1] - trunk.cavity.radii[1]
    return back + 26 - 0.0004 * (z - 30) * (z - 30)


def _wall_muscles(tissue: Tissue, trunk: Trunk) -> list[Layer]:
    """Rectus abdominis on both sides of the linea alba, with fat in between."""
    front = trunk.wall.center[1] + trunk.wall.radii[1]
    gap = Blob((0, front - 6, 0), (78, 14, 420), None, 3, 4)
    layers = [Layer(gap, tissue.fat, trunk.wall)]
    for side in (-1, 1):
        belly = Blob((side * 38, front - 9, 0), (35, 6.5, 420), turn(z_deg=-9.0 * side), 3, 4)
        layers.append(Layer(belly, tissue.muscle))
    return layers


def _psoas(tissue: Tissue, trunk: Trunk) -> list[Layer]:
    layers = []
    for side in (-1, 1):
        y = _spine_y(trunk, 0)
        psoas = Tubes.along(
            [
                (side * 20, y - 6, 50),
                (side * 34, y - 4, 0),
                (side * 44, y + 4, -60),
                (side * 54, y + 20, -170),
            ],
            [5, 14, 20, 23],
        )
        square = Blob((side * 66, y - 24, -40), (21, 9, 75), turn(z_deg=side * 12.0), 2.4, 3)
        crus = Tubes.along([(side * 14, y + 18, 130), (side * 11, y + 21, 40)], [5, 3])
        layers += [Layer(shape, tissue.muscle) for shape in (psoas, square, crus)]
    return layers


def _great_vessels(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    def y(z: float) -> float:
        return _spine_y(trunk, z) + 26

    size = rng.uniform(8, 10.5)
    heights = (190, 120, 60, 0, -60, -95)
    aorta = Tubes.along([(-9, y(z) + 3, z) for z in heights], np.linspace(size + 2, size - 1, 6))
    cava = Tubes.along([(17, y(z) + (24 if z > 90 else 2), z) for z in heights], 11.0)
    legs = [
        Tubes.along(
            [(start, y(-95), -95), (side * 32, y(-95) + 4, -140), (side * 44, y(-95), -190)], r
        )
        for start, r in ((-9, 6.0), (12, 7.5))
        for side in (-1, 1)
    ]
    trunk_path = [
        (-8, y(50) + 8, 45),
        (-4, y(50) + 26, 36),
        (2, y(0) + 34, -20),
        (8, y(0) + 38, -80),
    ]
    mesenteric = [
        Tubes.along(trunk_path, [4, 4, 3.5, 2.5]),
        Tubes.along(np.add(trunk_path, (13, 3, 0)), [5.5, 6, 5, 3]),
    ]
    renal = [
        Tubes.along(
            [
                (side * 6, y(12) + dy, 12 + dz),
                (side * 30, y(12) - 10, 10 + dz),
                (side * 52, y(12) - 22, 8 + dz),
            ],
            r,
        )
        for side in (-1, 1)
        for dy, dz, r in ((2, 4, 2.8), (8, -4, 4.5))
    ]
    fans = [
        grow_tree(rng, (2 + 4 * n, y(0) + 34, 10 - 25 * n), (sx, 0.5, -0.7), 26.0, 2.6, 6)
        for n in range(3)
        for sx in (-1.2, 0.1, 1.2)
    ]
    main = Tubes.join([aorta, cava, *legs, *mesenteric, *renal])
    mesentery = Tubes.join(fans)
    inside = trunk.cavity.grown(-8.0)
    return [
        Layer(mesentery, tissue.blood - 15, inside),
        Layer(main.grown(0.8), 45.0),
        Layer(main, tissue.blood),
    ]


def _kidneys(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    layers = []
    y = _spine_y(trunk, 0)
    for side in (-1, 1):
        size = rng.uniform(0.9, 1.1)
        z = rng.uniform(0, 12) - 10 * (side > 0)
        frame = turn(y_deg=side * 10.0, z_deg=side * 32.0)

        def part(
            dx: float,
            radii: tuple[float, float, float],
            z: float = z,
            size: float = size,
            side: int = side,
            frame: np.ndarray = frame,
        ) -> Blob:
            a, b, c = (np.asarray(radii) * size).tolist()
            return Blob((side * (66 + dx), y - 4, z), (a, b, c), frame)

        kidney = part(0, (28, 24, 54))
        layers.append(Layer(kidney, mottle(rng, tissue.kidney, 3, 40.0)))
        for turnabout in np.linspace(-1.1, 1.1, 6):
            tip = frame @ (
                np.array([-2.0, rng.uniform(-7, 7), 0]) + 36 * np.array([0, 0, turnabout])
            )
            x0, y0, z0 = (np.asarray(kidney.center) + tip * size).tolist()
            layers.append(Layer(Blob((x0, y0, z0), (9, 8, 7)), tissue.kidney - 45, kidney))
        layers.append(Layer(part(-10, (14, 10, 30)), tissue.fat))
        layers.append(Layer(part(-12, (7, 6, 16)), rng.uniform(0, 30)))
        if rng.random() < 0.5:
            cyst = rng.uniform(4, 14)
            place = (side * rng.uniform(78, 92), y - rng.uniform(0, 20), z + rng.uniform(-40, 40))
            layers.append(Layer(Blob(place, (cyst, cyst, cyst)), rng.uniform(0, 12)))
        adrenal = [(side * 26, y + 20, 62), (side * 36, y + 10, 58), (side * 46, y - 4, 52)]
        layers.append(Layer(Tubes.along(adrenal, 2.6), 70.0))
    return layers


def _upper_organs(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    cavity = trunk.cavity.grown(-3.0)
    high = rng.uniform(126, 142)
    right = Blob((56, 4, high - 110), (74, 84, 110), None, 2.2, 2)
    left = Blob((-62, 4, high - 122), (70, 84, 110), None, 2.2, 2)

    def lungs(points: Array) -> Array:
        floor = np.float32(62) + np.float32(0.35) * points[1] - points[2]
        middle = np.float32(16) - np.abs(points[0])
        return smooth_max(
            cavity.level(points), -right.level(points), -left.level(points), floor, middle, mm=5.0
        )

    a, b, _ = cavity.radii
    spleen = Blob((-94, -34, high - 62), (23, 42, 50), turn(x_deg=-18, z_deg=26))
    layers = [Layer(Solid((-a, -b, 20.0), (a, b + 8, 200.0), lungs), tissue.lung)]
    layers += _liver_layers(tissue, _liver(right, cavity, high), high, rng)
    layers.append(Layer(spleen, mottle(rng, tissue.spleen, 3, 50.0), cavity))
    return layers + _pancreas(tissue, high, rng) + stomach(tissue, cavity, high, rng)


def _liver(dome: Blob, cavity: Blob, high: float) -> Solid:
    """Right lobe below the dome, above a slanted edge and hollowed by the kidney; left lobe."""
    kidney_bed = Blob((74, -52, -4), (36, 30, 70))
    lobe = Blob((2, 46, high - 62), (72, 34, 42), turn(y_deg=-16))
    lower = Blob((84, 8, 24), (40, 62, 78), turn(y_deg=8))

    def level(points: Array) -> Array:
        main = np.minimum(dome.level(points) + 3, lower.level(points))
        floor = np.float32(-6) + np.float32(0.55) * (np.float32(70) - points[0]) - points[2]
        wall = cavity.level(points)
        carved = smooth_max(main, floor, -kidney_bed.level(points), wall, mm=14.0)
        both: Array = np.minimum(carved, np.maximum(lobe.level(points), wall))
        return both

    a, b, _ = cavity.radii
    return Solid((-80.0, -b, -60.0), (a, b + 8, 170.0), level)


def _liver_layers(
    tissue: Tissue, organ: Solid, high: float, rng: np.random.Generator
) -> list[Layer]:
    portal = [
        grow_tree(rng, (14.0, 14.0, high - 84), direction, 32.0, 5.2, 7)
        for direction in ((1, 0, -0.2), (0.8, 0.6, 0.7), (0.9, -0.7, 0.3), (-0.8, 1, 0.2))
    ]
    hepatic = [
        grow_tree(rng, (18, -6, high - 28), direction, 36.0, 4.8, 6)
        for direction in ((1, -0.1, -0.6), (0.6, 0.8, -0.5), (-0.3, 1, -0.4))
    ]
    bile = Blob((44, 50, 26), (13, 17, 29), turn(x_deg=24))
    layers = [
        Layer(organ, mottle(rng, tissue.liver, 3, 60.0)),
        Layer(Tubes.join(portal).near(organ.level, 6.0), tissue.blood + 8, organ),
        Layer(Tubes.join(hepatic).near(organ.level, 6.0), tissue.blood, organ),
        Layer(bile.grown(1.5), 55.0),
        Layer(bile, rng.uniform(4, 16)),
    ]
    for _ in range(int(rng.integers(0, 4))):
        place = (rng.uniform(40, 100), rng.uniform(-40, 50), rng.uniform(30, 110))
        size = rng.uniform(4, 13)
        layers.append(Layer(Blob(place, (size, size, size)), rng.uniform(5, 70), organ))
    return layers


def _pancreas(tissue: Tissue, high: float, rng: np.random.Generator) -> list[Layer]:
    """Pancreas between the portal and the splenic vein."""
    portal = Tubes.along([(14, 14, high - 84), (6, 12, high - 96), (0, 14, 34)], [6.5, 6.5, 6])
    pancreas = Tubes.along(
        [(30, 12, 16), (20, 18, 28), (0, 20, 38), (-24, 10, 46), (-50, -8, 54), (-70, -22, 62)],
        [12, 11, 8, 9, 9, 7],
    )
    splenic = Tubes.along(
        [(0, 10, 37), (-26, 0, 47), (-52, -18, 56), (-74, -30, 64)], [4.5, 4, 4, 3.5]
    )
    return [
        Layer(portal, tissue.blood + 8),
        Layer(pancreas, mottle(rng, 95.0, 8, 18.0)),
        Layer(splenic, tissue.blood + 5),
    ]


def _skeleton(tissue: Tissue, trunk: Trunk, rng: np.random.Generator) -> list[Layer]:
    bone = tissue.bone
    pitch = rng.uniform(33, 36)
    shift = rng.uniform(-10, 10)
    levels = [shift + pitch * n for n in range(-4, 7)]

    def curve(z: float) -> float:
        return _spine_y(trunk, z)

    layers = spine(bone, levels, pitch, rng.uniform(22, 25), curve)
    heads = [(20.0, curve(z) - 6, z + 8) for z in np.arange(shift + 2 * pitch, 260, 27)]
    drops = [float(np.clip(50 + 0.25 * head[2], 40, 105)) for head in heads]
    layers += ribs(bone, trunk.cavity.grown(6.0), heads, drops, 0.7)
    back = _spine_y(trunk, -110)
    for side in (-1, 1):
        frame = turn(y_deg=side * 12.0, z_deg=side * -38.0)
        wing = Blob((side * 88, back + 2, -168), (6.5, 52, 66), frame, 2.4, 2.4)
        layers += bone.solid(wing)
    sacrum = Blob((0, back - 10, -168), (46, 17, 40), turn(x_deg=-20), 3, 3)
    return layers + bone.solid(sacrum)
