"""Noise texture of a reconstruction compared with its original."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ct_vae.evaluation.metrics.metric_rows import check_same_grid
from ct_vae.evaluation.texture.find_flat_regions import FlatRegions, find_flat_regions
from ct_vae.evaluation.texture.noise_spectrum import NoiseSpectrum, noise_spectrum
from ct_vae.masks import Mask
from ct_vae.volume import Volume

# With fewer regions, the variance has an uncertainty of more than about 10 %.
_MIN_REGIONS = 10
# Rounding to whole HU alone has a standard deviation of 0.29.
_MIN_NOISE_HU = 0.5


@dataclass(frozen=True)
class Texture:
    """Noise of original and reconstruction in the uniform regions of the original.

    If the noise cannot be measured, ``note`` contains the reason, and all values except the counts
    are ``None`` or empty.

    Attributes:
        regions: Number of uniform regions.
        side_voxels: Size of the regions in voxels.
        side_mm: Size of the regions in mm along x and y.
        noise_hu: Standard deviation of the noise of the original in HU.
        noise_hu_reconstruction: Standard deviation of the noise of the reconstruction in HU.
        noise_ratio: Noise variance of the reconstruction divided by that of the original; below 1
            if the reconstruction is smoother, above 1 if noise is added.
        mean_frequency: Mean frequency of the radial noise power spectrum of the original in 1/mm.
        mean_frequency_reconstruction: Mean frequency of the reconstruction; ``None`` without noise.
        frequency_shift: Mean frequency of the reconstruction minus that of the original, in 1/mm;
            negative values mean coarser noise.
        high_share: Fraction of the variance of the original above half the Nyquist frequency.
        high_share_reconstruction: The same of the reconstruction; ``None`` without noise.
        frequencies: Frequencies of the radial spectra in 1/mm.
        nps: Radial noise power spectrum of the original in HU^2 mm^2.
        nps_reconstruction: Radial noise power spectrum of the reconstruction in HU^2 mm^2.
        note: Reason why a value could not be measured; may be empty.
    """

    regions: int
    side_voxels: int
    side_mm: tuple[float, float]
    noise_hu: float | None = None
    noise_hu_reconstruction: float | None = None
    noise_ratio: float | None = None
    mean_frequency: float | None = None
    mean_frequency_reconstruction: float | None = None
    frequency_shift: float | None = None
    high_share: float | None = None
    high_share_reconstruction: float | None = None
    frequencies: tuple[float, ...] = ()
    nps: tuple[float, ...] = ()
    nps_reconstruction: tuple[float, ...] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return all values for JSON."""
        return asdict(self)


def measure_texture(reference: Volume, reconstruction: Volume, body: Mask) -> Texture:
    """Compare the noise power spectra in the uniform regions of the original.

    A model that removes noise may have a higher PSNR although it changes the texture; these
    metrics show it. See `find_flat_regions` and `NoiseSpectrum` for the methods.

    Args:
        reference: Original volume.
        reconstruction: Reconstruction on the same grid.
        body: Body mask, in which uniform regions are searched.

    Raises:
        InputError: If the grids differ.
    """
    check_same_grid(reference, reconstruction)
    regions = find_flat_regions(reference, body)
    if len(regions.places) < _MIN_REGIONS:
        note = (
            f"{len(regions.places)} flat regions of soft tissue in the body, "
            f"{_MIN_REGIONS} are needed"
        )
        return _texture(regions, note=note)
    original, result = (
        noise_spectrum(regions.cut(volume), regions.spacing_mm)
        for volume in (reference, reconstruction)
    )
    if original.variance < _MIN_NOISE_HU**2:
        return _texture(regions, note=f"the original's noise is below {_MIN_NOISE_HU} HU")
    return _compared(regions, original, result)


def _compared(regions: FlatRegions, original: NoiseSpectrum, result: NoiseSpectrum) -> Texture:
    frequencies, power = original.radial()
    before, after = original.mean_frequency(), result.mean_frequency()
    return _texture(
        regions,
        noise_hu=float(np.sqrt(original.variance)),
        noise_hu_reconstruction=float(np.sqrt(result.variance)),
        noise_ratio=result.variance / original.variance,
        mean_frequency=before,
        mean_frequency_reconstruction=after,
        frequency_shift=None if before is None or after is None else after - before,
        high_share=original.high_share(),
        high_share_reconstruction=result.high_share(),
        frequencies=tuple(frequencies.tolist()),
        nps=tuple(power.tolist()),
        nps_reconstruction=tuple(result.radial()[1].tolist()),
        note="" if after is not None else "the reconstruction has no noise at all",
    )


def _texture(regions: FlatRegions, **measured: Any) -> Texture:
    across, deep = (regions.side * s for s in regions.spacing_mm)
    return Texture(len(regions.places), regions.side, (across, deep), **measured)
