"""Task transfer function from a slanted edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SLANT_DEG = 5.0
REACH_MM = 12.0
# Bins per voxel of the edge profile.
_FINE = 8
# With less of the contrast than this the edge counts as lost.
_LOST = 0.1


def edge_profile(
    voxels: NDArray[np.generic], x_mm: FloatArray, y_mm: FloatArray, spacing_mm: float
) -> FloatArray:
    """Oversampled edge-spread function, from the inside outwards, in steps of a voxel's eighth.

    Args:
        voxels: ``(X, Y, Z)`` around the edge.
        x_mm: ``(X,)`` from the middle of the edge, positive outside.
        y_mm: ``(Y,)`` from the middle of the edge.
        spacing_mm: Side of a voxel.
    """
    slant = np.deg2rad(SLANT_DEG)
    distance = x_mm[:, None] * np.cos(slant) + y_mm[None, :] * np.sin(slant)
    mean = voxels.astype(np.float64).mean(axis=2)
    near = np.abs(distance) <= REACH_MM
    step = spacing_mm / _FINE
    place = np.rint(distance[near] / step).astype(int)
    count = np.bincount(place - place.min())
    filled = np.flatnonzero(count)
    where = np.bincount(place - place.min(), distance[near])[filled] / count[filled]
    value = np.bincount(place - place.min(), mean[near])[filled] / count[filled]
    half = int(REACH_MM / step)
    profile: FloatArray = np.interp(np.arange(-half, half + 1) * step, where, value)
    return profile


def plateau_contrast(profile: FloatArray) -> float:
    """Inside minus outside, each over the outer quarter of the profile, in HU."""
    quarter = len(profile) // 4
    return float(profile[:quarter].mean() - profile[-quarter:].mean())


def transfer_function(
    profile: FloatArray, contrast_hu: float, spacing_mm: float
) -> tuple[FloatArray, FloatArray] | None:
    """Normalised spectrum of the line-spread function, up to twice the Nyquist frequency.

    The edge method of ISO 12233 with the angle known, at one contrast at a time as Richard et al.
    2012 ("Towards task-based assessment of CT performance", Med Phys 39, 4115) ask for non-linear
    systems. The line-spread function is flat-top windowed over 24 mm, and the two filters of the
    method itself, the bins and the difference, are divided out.

    Returns:
        Frequencies in 1/mm and the function, 1 at zero; ``None`` when less than a tenth of
        ``contrast_hu`` is left of the edge.
    """
    if plateau_contrast(profile) / contrast_hu < _LOST:
        return None
    step = spacing_mm / _FINE
    line = -np.diff(profile)
    turns = np.linspace(-1, 1, len(line))
    line *= np.where(np.abs(turns) < 0.5, 1, np.cos(np.pi * (np.abs(turns) - 0.5)) ** 2)
    padded = 16 * len(line)
    frequencies = np.fft.rfftfreq(padded, step)
    spectrum: FloatArray = np.abs(np.fft.rfft(line, padded)) / np.sinc(frequencies * step) ** 2
    shown = frequencies <= 1 / spacing_mm
    transfer: FloatArray = spectrum[shown] / spectrum[0]
    return np.asarray(frequencies[shown], dtype=np.float64), transfer


def falls_to(level: float, frequencies: FloatArray, transfer: FloatArray) -> float | None:
    """The first frequency at which a transfer function is down to ``level``; ``None`` if none."""
    below = np.flatnonzero(transfer < level)
    if not below.size or below[0] == 0:
        return None
    n = int(below[0])
    share = (transfer[n - 1] - level) / (transfer[n - 1] - transfer[n])
    return float(frequencies[n - 1] + share * (frequencies[n] - frequencies[n - 1]))
