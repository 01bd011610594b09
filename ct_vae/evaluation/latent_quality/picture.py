"""Picture of the measurements of a latent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ct_vae.evaluation.latent_quality.result import LatentQuality
from ct_vae.io.atomic.file import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = (13.0, 4.2)
_DPI = 110
# More channels than this are drawn in one color without a legend.
_NAMED_CHANNELS = 8
# Largest correlation matrix whose entries are written as numbers.
_WRITTEN = 8


def write_latent_picture(quality: LatentQuality, path: str | Path, *, title: str = "") -> None:
    """Write a PNG with the spectrum, the correlation of the channels and the equivariance errors.

    Args:
        quality: Measurements of one latent.
        path: Output file.
        title: Title of the image, such as the name of the case.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    spectrum, correlation, errors = figure.subplots(1, 3)
    _draw_spectrum(spectrum, quality)
    _draw_correlation(correlation, quality)
    _draw_errors(errors, quality)
    if title:
        figure.suptitle(title)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=_DPI)


def _draw_spectrum(axes: Axes, quality: LatentQuality) -> None:
    named = len(quality.channels) <= _NAMED_CHANNELS
    for place, channel in enumerate(quality.channels):
        density = np.asarray(channel.spectrum)
        # A logarithmic axis has no place for empty bins.
        shown = np.where(density > 0, density, np.nan)
        style = {"label": f"channel {place}"} if named else {"color": "C0", "alpha": 0.5}
        axes.plot(quality.frequencies, shown, marker=".", **style)
    axes.axhline(1.0, color="0.5", linestyle="--", linewidth=1)
    axes.annotate(
        "white noise",
        (0.5, 1.0),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color="0.3",
    )
    axes.set(
        yscale="log", xlabel="cycles per latent voxel", ylabel="power density", title="Spectrum"
    )
    axes.set_xlim(0, 0.5)
    if named:
        axes.legend(fontsize=8)


def _draw_correlation(axes: Axes, quality: LatentQuality) -> None:
    matrix = np.asarray(quality.correlation)
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    ticks = np.arange(len(matrix))
    axes.set_xticks(ticks[:: max(1, len(matrix) // _WRITTEN)])
    axes.set_yticks(ticks[:: max(1, len(matrix) // _WRITTEN)])
    if len(matrix) <= _WRITTEN:
        for (row, column), value in np.ndenumerate(matrix):
            color = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
    axes.set(title="Correlation of channels", xlabel="channel", ylabel="channel")
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, shrink=0.8)


def _draw_errors(axes: Axes, quality: LatentQuality) -> None:
    found = [(e.transform, e.latent_error) for e in quality.equivariance]
    found += [("crop", quality.crop_error), ("crop, center", quality.crop_error_center)]
    names, values = zip(*found, strict=True)
    places = np.arange(len(found))
    bars = axes.barh(places, values)
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set(title="Equivariance error of the latent", xlabel="RMS difference / std")
