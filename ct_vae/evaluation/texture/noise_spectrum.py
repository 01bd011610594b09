"""Noise power spectrum of uniform regions, in physical units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Coefficients of the second-order trend that was subtracted.
_TREND = 6


@dataclass(frozen=True, eq=False)
class NoiseSpectrum:
    """Noise power spectrum of square regions of ``n x n`` voxels.

    Estimate of AAPM TG-233, section on noise texture (Samei et al. 2019, Med Phys 46, e735; defined
    in ICRU 87): ``dx dy / (nx ny) |DFT|^2``, averaged over the regions. It is corrected for the 6
    of ``n^2`` degrees of freedom that are lost by subtracting the trend.

    Attributes:
        power: ``(n, n)`` in HU^2 mm^2, in the order of ``numpy.fft.fftfreq``.
        spacing_mm: Voxel spacing in mm.
    """

    power: FloatArray
    spacing_mm: tuple[float, float]

    @property
    def variance(self) -> float:
        """Variance: the integral over all frequencies, in HU^2."""
        n = self.power.shape[0]
        cell = 1 / (n * n * self.spacing_mm[0] * self.spacing_mm[1])
        return float(self.power.sum() * cell)

    @property
    def radii(self) -> FloatArray:
        """Radial frequency of each element, ``(n, n)``, in 1/mm."""
        x, y = (np.fft.fftfreq(self.power.shape[0], s) for s in self.spacing_mm)
        radii: FloatArray = np.hypot(x[:, None], y[None, :])
        return radii

    @property
    def nyquist(self) -> float:
        """Lower of the Nyquist frequencies of both axes, in 1/mm."""
        return 0.5 / max(self.spacing_mm)

    def radial(self) -> tuple[FloatArray, FloatArray]:
        """Return frequencies (1/mm) and radial mean power (HU^2 mm^2), up to the Nyquist frequency.

        Rings are as wide as the frequency step; frequency zero is excluded.
        """
        step = 1 / (self.power.shape[0] * max(self.spacing_mm))
        ring = np.rint(self.radii / step).astype(int)
        rings = np.arange(1, self.power.shape[0] // 2 + 1)
        inside = np.isin(ring, rings)
        count = np.bincount(ring[inside])[rings]
        power = np.bincount(ring[inside], self.power[inside])[rings] / count
        return rings * step, power

    def mean_frequency(self) -> float | None:
        """First moment of the radial spectrum in 1/mm (TG-233's average frequency)."""
        frequencies, power = self.radial()
        total = float(power.sum())
        return float((frequencies * power).sum()) / total if total > 0 else None

    def high_share(self) -> float | None:
        """Fraction of the variance above half the Nyquist frequency, in [0, 1]."""
        total = float(self.power.sum())
        high = float(self.power[self.radii > self.nyquist / 2].sum())
        return high / total if total > 0 else None


def noise_spectrum(squares: FloatArray, spacing_mm: tuple[float, float]) -> NoiseSpectrum:
    """Compute the spectrum of detrended regions.

    Args:
        squares: Regions ``(N, n, n)`` in HU, at least one.
        spacing_mm: Voxel spacing in mm.
    """
    n = squares.shape[-1]
    power = (np.abs(np.fft.fft2(squares)) ** 2).mean(axis=0)
    unbiased = n * n / (n * n - _TREND)
    return NoiseSpectrum(power * spacing_mm[0] * spacing_mm[1] / n**2 * unbiased, spacing_mm)
