"""SVG plots of one case, in the colors of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ct_vae.evaluation.latent_quality.result import LatentQuality
from ct_vae.evaluation.metrics.bland_altman import REGION_MM, Agreement, region_agreement
from ct_vae.evaluation.metrics.pair import Pair
from ct_vae.evaluation.report.axes import Axes
from ct_vae.evaluation.report.case import ReportCase
from ct_vae.evaluation.report.listing import number
from ct_vae.evaluation.report.survey import HISTOGRAM_HU, Survey
from ct_vae.evaluation.texture.noise import Texture
from ct_vae.masks import Mask

_BIN_HU = 10
_MOST_POINTS = 600


def case_plots(found: Survey, case: ReportCase) -> tuple[str, ...]:
    """Return error histogram, Bland-Altman plot, and spectra of noise and latent if known."""
    plots = [
        histogram_plot(found),
        bland_altman_plot(agreement_of(case), case.where),
        spectrum_plot(case.texture),
        latent_plot(case.latent),
    ]
    return tuple(plot for plot in plots if plot)


def histogram_plot(found: Survey) -> str:
    """Return a histogram of signed errors in bins of 10 HU, on a logarithmic scale."""
    total = found.histogram.sum()
    if not total:
        return ""
    steps = np.arange(-HISTOGRAM_HU, HISTOGRAM_HU + 1)
    edges = np.arange(-HISTOGRAM_HU - _BIN_HU / 2, HISTOGRAM_HU + _BIN_HU, _BIN_HU)
    counts, _ = np.histogram(steps, edges, weights=found.histogram)
    # A single bar with all voxels needs a lower limit below it.
    least = min(0.1, 10.0 ** math.floor(math.log10(counts[counts > 0].min() / total)))
    axes = Axes((-HISTOGRAM_HU, HISTOGRAM_HU), (least, 1.0), log=True)
    bars = [
        axes.bar(edge, edge + _BIN_HU, share)
        for edge, share in zip(edges, counts / total, strict=False)
        if share
    ]
    note = f"The ends hold all that is beyond {HISTOGRAM_HU} HU."
    return axes.figure(
        "Histogram of errors", "reconstruction - original, HU", "share of voxels", bars, note
    )


def agreement_of(case: ReportCase) -> Agreement:
    """Return the agreement of regional mean HU in the mask, or in the whole volume by default."""
    body = case.body or Mask("volume", np.ones(case.original.grid.shape, np.bool_))
    return region_agreement(Pair(case.original, case.reconstruction), body)


def bland_altman_plot(agreement: Agreement, where: str) -> str:
    """Return a Bland-Altman plot of regional means with bias and 95 % limits of agreement."""
    bias, limits = agreement.bias, agreement.limits
    if bias is None or limits is None:
        return ""
    difference = agreement.reconstructions - agreement.originals
    average = (agreement.originals + agreement.reconstructions) / 2
    reach = 1.1 * max(1.0, float(np.abs(difference).max()), *map(abs, limits))
    axes = Axes(_span(average), (-reach, reach))
    every = -(-len(average) // _MOST_POINTS)
    marks = [axes.dot(x, y) for x, y in zip(average[::every], difference[::every], strict=True)]
    lines = [axes.level(bias, dashed=False), *(axes.level(y, dashed=True) for y in limits)]
    note = (
        f"{agreement.regions} regions of about {REGION_MM:g} mm inside {where}. "
        f"Bias {number(bias, 2)} HU, 95 % limits of agreement {number(limits[0], 2)} to "
        f"{number(limits[1], 2)} HU."
    )
    return axes.figure("Bland-Altman", "mean of both, HU", "difference, HU", marks + lines, note)


def spectrum_plot(texture: Texture | None) -> str:
    """Return a plot of the noise power spectra of original and reconstruction, if known."""
    if texture is None or len(texture.frequencies) < 2:
        return ""
    frequency, *powers = (
        np.asarray(a, np.float64)
        for a in (texture.frequencies, texture.nps, texture.nps_reconstruction)
    )
    top = 1.05 * max(float(np.nanmax(p)) for p in powers)
    axes = Axes((0.0, float(frequency.max())), (0.0, top or 1.0))
    lines = [
        axes.curve(frequency, power, dashed=dashed)
        for power, dashed in zip(powers, (False, True), strict=True)
    ]
    note = "Solid: original. Dashed: reconstruction."
    if texture.noise_ratio is not None:
        note += f" Variance of the noise: {number(texture.noise_ratio, 2)} of the original's."
    return axes.figure("Noise-power spectrum", "cycles per mm", "HU² mm²", lines, note)


def latent_plot(latent: LatentQuality | None) -> str:
    """Return a plot of the spectrum of each latent channel with the other measurements as note."""
    if latent is None:
        return ""
    frequency = np.asarray(latent.frequencies)
    spectra = [np.asarray(channel.spectrum) for channel in latent.channels]
    # A logarithmic axis has no place for bins without power.
    values = np.concatenate([spectrum[spectrum > 0] for spectrum in spectra] + [np.ones(1)])
    low, high = (float(np.log10(v)) for v in (values.min(), values.max()))
    limits = 10.0 ** math.floor(low - 0.1), 10.0 ** math.ceil(high + 0.1)
    axes = Axes((0.0, 0.5), limits, log=True)
    lines = [axes.curve(frequency[s > 0], s[s > 0], dashed=False) for s in spectra]
    return axes.figure(
        "Spectrum of the latent",
        "cycles per latent voxel",
        "power density",
        [*lines, axes.level(1.0, dashed=True)],
        f"Dashed: white noise. In the middle of the body: {latent.line()}.",
    )


def _span(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
