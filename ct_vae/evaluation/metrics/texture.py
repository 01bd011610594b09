"""Whether a reconstruction keeps the grain of its original, or denoises it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ct_vae.evaluation.metrics.flat_regions import FlatRegions, find_flat_regions
from ct_vae.evaluation.metrics.masks import Mask
from ct_vae.evaluation.metrics.metric_rows import check_same_grid
from ct_vae.evaluation.metrics.noise_spectrum import NoiseSpectrum, noise_spectrum
from ct_vae.volume import Volume

# With fewer squares the variance is uncertain by more than about a tenth.
_MIN_REGIONS = 10
# Whole HU alone have a standard deviation of 0.29.
_MIN_NOISE_HU = 0.5


@dataclass(frozen=True)
class Texture:
    """Noise in flat regions of the original, and what became of it there.

    Everything but the counts is ``None``, and the spectra are empty, when ``note`` says why.

    Attributes:
        regions: How many flat squares were found.
        side_voxels: Their side.
        side_mm: Their side along x and y.
        noise_hu: Standard deviation of the original's noise in HU.
        noise_hu_reconstruction: Of the reconstruction's.
        noise_ratio: Variance of the reconstruction over variance of the original: 1 when the grain
            is kept, less when it is smoothed away, more when some is added.
        mean_frequency: Of the original's radial noise-power spectrum, in 1/mm.
        mean_frequency_reconstruction: Of the reconstruction's; ``None`` when it has no noise.
        frequency_shift: Reconstruction minus original, in 1/mm; negative is coarser grain.
        high_share: Share of the original's variance above half the Nyquist frequency, in [0, 1].
        high_share_reconstruction: Of the reconstruction's; ``None`` when it has no noise.
        frequencies: Of the radial spectra, in 1/mm.
        nps: The original's, in HU^2 mm^2.
        nps_reconstruction: The reconstruction's.
        note: Why something could not be measured; empty when all was.
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
        """For JSON: numbers, text and ``None``."""
        return asdict(self)


def measure_texture(reference: Volume, reconstruction: Volume, body: Mask) -> Texture:
    """Compare noise-power spectra in the flat regions of the original.

    A model that denoises gains PSNR against nothing; this tells. Where the regions lie is told by
    `find_flat_regions`, what is measured in them by `NoiseSpectrum`.

    Args:
        reference: The original.
        reconstruction: What is judged, on the same grid.
        body: Where to look for flat regions.

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
