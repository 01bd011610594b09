"""The four volumes of the phantom probe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.evaluation.probe.drawing import Canvas, FloatArray, Point
from ct_vae.evaluation.probe.edge import SLANT_DEG
from ct_vae.volume import Volume

SIZE_MM: Point = (160.0, 160.0, 32.0)
TISSUE_HU, LUNG_HU = 40.0, -850.0
EDGE_CONTRASTS = (-1000.0, -500.0, -140.0, 60.0, 100.0, 250.0, 600.0, 1500.0)
LINE_PAIRS_PER_CM = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
STEPS_HU = (
    *(-1000.0, -900.0, -700.0, -500.0, -250.0, -100.0, -40.0, 0.0),
    *(80.0, 150.0, 300.0, 600.0, 1000.0, 1500.0, 2000.0, 3000.0),
)
DIAMETERS_MM = (4.0, 6.0, 8.0, 12.0)
# Background and contrast per row: ground glass and solid in lung, dark and bright in tissue.
NODULE_ROWS = ((LUNG_HU, 250.0), (LUNG_HU, 880.0), (TISSUE_HU, -60.0), (TISSUE_HU, 100.0))
DISC_CONTRASTS = (-100.0, -50.0, -20.0, -10.0, 10.0, 20.0, 50.0, 100.0)
STEP_RADIUS_MM, DISC_RADIUS_MM = 10.0, 8.0
NOISE_HU = 15.0

_LINE_CONTRAST = 600.0
_PITCH_MM = 36.0
_HALF_SQUARE_MM = 14.0
_NOISE_SIGMA_MM = 0.6
_NOISE_SEED = 7
_DEEP = SIZE_MM[2]


def cell_center(place: int) -> Point:
    """Return the center of one of the 4 x 4 cells, row by row."""
    row, column = divmod(place, 4)
    return (column - 1.5) * _PITCH_MM, (row - 1.5) * _PITCH_MM, 0.0


def draw_resolution(spacing_mm: float) -> Volume:
    """Draw slanted edges in the first eight cells and bar patterns in the others, along z."""
    canvas = _body(spacing_mm)
    reach = (18.0, 16.0, _DEEP)
    for place, contrast in enumerate(EDGE_CONTRASTS):
        canvas.add(_slanted, TISSUE_HU + contrast, cell_center(place), reach)
    for place, per_cm in enumerate(LINE_PAIRS_PER_CM, start=len(EDGE_CONTRASTS)):

        def bars(
            x: FloatArray, y: FloatArray, z: FloatArray, per_mm: float = per_cm / 10
        ) -> NDArray[np.bool_]:
            return _square(x, y, z) & ((x * per_mm) % 1 < 0.5)

        canvas.add(bars, TISSUE_HU + _LINE_CONTRAST, cell_center(place), reach)
    return canvas.volume()


def draw_steps(spacing_mm: float) -> Volume:
    """Draw rods along z with HU over the full range."""
    canvas = _body(spacing_mm)
    for place, hu in enumerate(STEPS_HU):
        _rod(canvas, hu, place, STEP_RADIUS_MM)
    return canvas.volume()


def draw_nodules(spacing_mm: float) -> Volume:
    """Draw spheres: two rows in lung and two in soft tissue."""
    canvas = _body(spacing_mm)
    canvas.add(
        lambda x, y, _: (np.abs(x) < 72) & (np.abs(y) < 36),
        LUNG_HU,
        (0.0, -36.0, 0.0),
        (72.0, 36.0, _DEEP),
    )
    for place in range(16):
        background, contrast = NODULE_ROWS[place // 4]
        radius = DIAMETERS_MM[place % 4] / 2
        canvas.add(
            lambda x, y, z, r=radius: x * x + y * y + z * z < r * r,  # type: ignore[misc]
            background + contrast,
            cell_center(place),
            (radius, radius, radius),
            flat=False,
        )
    return canvas.volume()


def draw_discs(spacing_mm: float) -> Volume:
    """Draw low-contrast rods in every second cell, with noise of a fixed seed."""
    canvas = _body(spacing_mm)
    for place, contrast in enumerate(DISC_CONTRASTS):
        _rod(canvas, TISSUE_HU + contrast, 2 * place, DISC_RADIUS_MM)
    rng = np.random.Generator(np.random.Philox(_NOISE_SEED))
    noise = rng.standard_normal(canvas.voxels.shape)
    noise = ndimage.gaussian_filter(noise, _NOISE_SIGMA_MM / spacing_mm, mode="wrap")
    canvas.voxels += noise * (NOISE_HU / noise.std())
    canvas.voxels = np.maximum(canvas.voxels, -1024)
    return canvas.volume()


def _body(spacing_mm: float) -> Canvas:
    """Draw a block of soft tissue surrounded by 8 mm of air."""
    canvas = Canvas(SIZE_MM, spacing_mm, -1000.0)
    half = SIZE_MM[0] / 2
    canvas.add(
        lambda x, y, _: (np.abs(x) < half - 8) & (np.abs(y) < half - 8),
        TISSUE_HU,
        (0.0, 0.0, 0.0),
        (half, half, _DEEP),
    )
    return canvas


def _rod(canvas: Canvas, hu: float, place: int, radius: float) -> None:
    canvas.add(
        lambda x, y, _: x * x + y * y < radius * radius,
        hu,
        cell_center(place),
        (radius, radius, _DEEP),
    )


def _square(x: FloatArray, y: FloatArray, _: FloatArray) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (np.abs(x) < _HALF_SQUARE_MM) & (np.abs(y) < _HALF_SQUARE_MM)
    return inside


def _slanted(x: FloatArray, y: FloatArray, _: FloatArray) -> NDArray[np.bool_]:
    """Return the inside of a square whose right side is slanted, through the center of the cell."""
    slant = np.deg2rad(SLANT_DEG)
    left: NDArray[np.bool_] = x * np.cos(slant) + y * np.sin(slant) < 0
    return left & (x > -17) & (np.abs(y) < _HALF_SQUARE_MM)
