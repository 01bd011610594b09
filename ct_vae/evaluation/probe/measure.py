"""Measurement of the drawn objects in a reconstruction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ct_vae.evaluation.probe import phantoms
from ct_vae.evaluation.probe.drawing import FloatArray, Point, axes_mm, box_around
from ct_vae.evaluation.probe.edge import (
    REACH_MM,
    edge_profile,
    falls_to,
    plateau_contrast,
    transfer_function,
)
from ct_vae.evaluation.probe.result import (
    ContrastToNoise,
    EdgeTransfer,
    LinePairs,
    Nodule,
    ProbeLinearity,
)
from ct_vae.volume import Volume

# Distance from the ends of the volume, where a model has less context.
_DEEP_MM = 8.0
# Distance from the corners of squares.
_TALL_MM = 8.0
# Rods are measured at this distance inside their edge.
_CORE = 0.6
_NODULE_REACH_MM = 12.0
_FINER = 3


def measure_edges(drawn: Volume, result: Volume) -> tuple[EdgeTransfer, ...]:
    """Measure the task transfer function of each slanted edge."""
    found = []
    for place, contrast in enumerate(phantoms.EDGE_CONTRASTS):
        spacing = drawn.grid.spacing_mm[0]
        curves = []
        for volume in (drawn, result):
            x, y, voxels = _cell(volume, place, (REACH_MM + 2, _TALL_MM, _DEEP_MM))
            profile = edge_profile(voxels, x, y, spacing)
            curves.append((profile, transfer_function(profile, contrast, spacing)))
        ideal, (profile, curve) = curves[0][1], curves[1]
        falls = [falls_to(level, *c) if c else None for c in (curve, ideal) for level in (0.5, 0.1)]
        listed = [tuple(part.tolist()) for part in curve] if curve else [(), ()]
        found.append(
            EdgeTransfer(contrast, plateau_contrast(profile), *falls, *listed)  # type: ignore[arg-type]
        )
    return tuple(found)


def measure_steps(result: Volume) -> ProbeLinearity:
    """Measure mean HU in the core of each rod, and fit a line."""
    drawn = np.array(phantoms.STEPS_HU)
    measured = np.array(
        [
            float(_core(result, place, _CORE * phantoms.STEP_RADIUS_MM).mean(dtype=np.float64))
            for place in range(len(drawn))
        ]
    )
    slope, intercept = np.polyfit(drawn, measured, 1).tolist()
    return ProbeLinearity(
        tuple(drawn.tolist()),
        tuple(measured.tolist()),
        slope,
        intercept,
        float(np.abs(measured - drawn).max()),
    )


def measure_line_pairs(drawn: Volume, result: Volume) -> tuple[LinePairs, ...]:
    """Measure the modulation of each bar pattern relative to the drawn volume."""
    found = []
    first = len(phantoms.EDGE_CONTRASTS)
    for place, per_cm in enumerate(phantoms.LINE_PAIRS_PER_CM, start=first):
        nyquist = 0.5 / drawn.grid.spacing_mm[0]
        before, after = (_amplitude(volume, place, per_cm / 10) for volume in (drawn, result))
        found.append(LinePairs(per_cm, after / before if per_cm / 10 < 0.95 * nyquist else None))
    return tuple(found)


def measure_nodules(drawn: Volume, result: Volume) -> tuple[Nodule, ...]:
    """Measure the volume of each sphere above half of its drawn contrast."""
    found = []
    for place in range(16):
        background, contrast = phantoms.NODULE_ROWS[place // 4]
        before, after = (
            _half_contrast_mm3(volume, place, background, contrast) for volume in (drawn, result)
        )
        error = after / before - 1 if before > 0 else None
        diameter = phantoms.DIAMETERS_MM[place % 4]
        found.append(Nodule(diameter, background, contrast, before, after, error))
    return tuple(found)


def measure_contrast(drawn: Volume, result: Volume) -> tuple[ContrastToNoise, ...]:
    """Measure the contrast-to-noise ratio of each disc relative to an empty cell."""
    return tuple(
        ContrastToNoise(contrast, _cnr(drawn, 2 * place), _cnr(result, 2 * place))
        for place, contrast in enumerate(phantoms.DISC_CONTRASTS)
    )


def _cell(
    volume: Volume, place: int, reach: Point
) -> tuple[FloatArray, FloatArray, NDArray[np.generic]]:
    """Return positions along x and y relative to the center of a cell, and its voxels."""
    center, spacing = phantoms.cell_center(place), volume.grid.spacing_mm[0]
    box = box_around(volume.grid.shape, spacing, center, reach)
    x, y, _ = axes_mm(volume.grid.shape, spacing)
    return x[box[0]] - center[0], y[box[1]] - center[1], volume.voxels[box]


def _core(volume: Volume, place: int, radius: float) -> NDArray[np.generic]:
    x, y, voxels = _cell(volume, place, (radius, radius, _DEEP_MM))
    return voxels[np.hypot(x[:, None], y[None, :]) <= radius]


def _amplitude(volume: Volume, place: int, per_mm: float) -> float:
    x, _, voxels = _cell(volume, place, (REACH_MM, _TALL_MM, _DEEP_MM))
    profile = voxels.mean(axis=(1, 2), dtype=np.float64)
    window = np.cos(np.pi / 2 * x / (REACH_MM + volume.grid.spacing_mm[0])) ** 2
    centered = profile - (profile * window).sum() / window.sum()
    return float(np.abs((centered * window * np.exp(-2j * np.pi * per_mm * x)).sum()))


def _half_contrast_mm3(volume: Volume, place: int, background: float, contrast: float) -> float:
    """Return the volume in mm^3 above half contrast, with 27 subvoxels by linear interpolation.

    Components that overlap the core count. The core has half the diameter, so that a nodule with a
    hole in the center is still found.
    """
    voxels = _cell(volume, place, (_NODULE_REACH_MM,) * 3)[2].astype(np.float64)
    relative = (voxels - background) / contrast
    fine = ndimage.zoom(relative, _FINER, order=1, mode="nearest", grid_mode=True)
    pieces, _ = ndimage.label(fine > 0.5)
    side = volume.grid.spacing_mm[0] / _FINER
    x, y, z = axes_mm(pieces.shape, side)
    core = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 <= (_radius(place) / 2) ** 2
    there = np.setdiff1d(pieces[core], [0])
    return float(np.isin(pieces, there).sum()) * side**3


def _radius(place: int) -> float:
    return phantoms.DIAMETERS_MM[place % 4] / 2


def _cnr(volume: Volume, place: int) -> float | None:
    radius = _CORE * phantoms.DISC_RADIUS_MM
    disc, empty = (_core(volume, p, radius).astype(np.float64) for p in (place, place + 1))
    noise = float(empty.std())
    return float(abs(disc.mean() - empty.mean())) / noise if noise > 0 else None
