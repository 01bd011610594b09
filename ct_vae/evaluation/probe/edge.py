"""Task transfer function from a slanted edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SLANT_DEG = 5.0
REACH_MM = 12.0
# Bins per voxel of the edge profile.
_FINE = 8
# An edge with less than this fraction of its contrast counts as lost.
_LOST = 0.1


def edge_profile(
    voxels: NDArray[np.generic], x_mm: FloatArray, y_mm: FloatArray, spacing_mm: float
) -> FloatArray:
    """Compute the oversampled edge spread function from inside to outside, in 1/8 voxel steps.

    Args:
        voxels: ``(X, Y, Z)`` around the edge, in HU.
        x_mm: ``(X,)`` positions relative to the center of the edge, positive outside.
        y_mm: ``(Y,)`` positions relative to the center of the edge.
        spacing_mm: Voxel spacing in mm.
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
    """Return the contrast in HU, inside minus outside, from the outer quarters of the profile."""
    quarter = len(profile) // 4
    return float(profile[:quarter].mean() - profile[-quarter:].mean())


def transfer_function(
    profile: FloatArray, contrast_hu: float, spacing_mm: float
) -> tuple[FloatArray, FloatArray] | None:
    """Compute the task transfer function, up to twice the Nyquist frequency.

    It is the normalized spectrum of the line spread function, by the slanted edge method of ISO
    12233 with a known angle, for one contrast at a time (Richard et al. 2012, "Towards task-based
    assessment of CT performance", Med Phys 39, 4115). The line spread function is windowed to 24 mm
    (flat top), and the transfer functions of binning and differentiation are divided out.

    Returns:
        Frequencies in 1/mm and the transfer function, 1 at zero; ``None`` if less than 10 % of
        ``contrast_hu`` remains.
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
    """Return the first frequency at which a transfer function falls to ``level``, or ``None``."""
    below = np.flatnonzero(transfer < level)
    if not below.size or below[0] == 0:
        return None
    n = int(below[0])
    share = (transfer[n - 1] - level) / (transfer[n - 1] - transfer[n])
    return float(frequencies[n - 1] + share * (frequencies[n] - frequencies[n - 1]))
