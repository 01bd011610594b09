"""``progress.png``: the curves of a run, from the lines of ``metrics.jsonl``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ct_vae.io.atomic.file import atomic_write
from ct_vae.training.reporting.run_log import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = Mapping[str, Any]
# Values over the clock, by label.
Series = dict[str, tuple[list[float], list[float]]]

_CLOCK = "samples_seen"
_RMSE, _STD = "val_rmse_hu_", "val_latent_std_"
_SIZE, _DPI = (12.0, 7.5), 110
# Noisy curves get a running mean over one of this many parts of their points.
_SMOOTH = 40
# Colors would repeat with more curves.
_MOST_CURVES = 10


def write_curves(metrics: Path, path: Path) -> None:
    """Draw loss terms, validation errors, learning rate and the spread of the latent.

    Terms of the objective are multiplied by their weights to show their contribution to the loss.

    Args:
        metrics: ``metrics.jsonl`` of a run, which may be empty.
        path: PNG file to write; it contains neither names nor paths.

    Raises:
        OutputError: If the image cannot be written.
    """
    figure = _draw(read_log(metrics))
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=_DPI)


def _draw(lines: Sequence[Line]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE)
    # A layout engine would take longer than the drawing.
    figure.subplots_adjust(0.06, 0.07, 0.98, 0.95, wspace=0.15, hspace=0.15)
    (loss, error), (rate, latent) = figure.subplots(2, 2, sharex=True)
    loss.set_title("loss, and its terms times their weights")
    _curves(loss, _terms(lines), smooth=True)
    _scale(loss)
    error.set_title("validation: RMSE in HU inside the body")
    _curves(error, _errors(lines), marker="o")
    rate.set_title("learning rate")
    _curves(rate, _series(lines, {"lr": "learning rate"}))
    rate.ticklabel_format(axis="y", scilimits=(0, 0))
    _latent(latent, lines)
    for axis in (rate, latent):
        axis.set_xlabel("samples seen")
    for axis in (loss, error, rate, latent):
        _finish(axis)
    for axis, room in ((error, 1.08), (latent, 1.4)):
        axis.set_ylim(0, room * axis.get_ylim()[1])
    return figure


def _finish(axis: Axes) -> None:
    axis.grid(alpha=0.3)
    _, labels = axis.get_legend_handles_labels()
    if not labels:
        axis.text(0.5, 0.5, "nothing yet", transform=axis.transAxes, ha="center", color="gray")
    elif len(labels) > 1:
        axis.legend(fontsize="small")


def _latent(axis: Axes, lines: Sequence[Line]) -> None:
    """Draw the use of codes, or the standard deviation of the channels without codes."""
    step = _series(lines, {"code_usage": "one training step"})
    validation = _series(lines, {"val_code_usage": "all validation cases"})
    if step or validation:
        axis.set_title("share of the codebook in use")
    else:
        axis.set_title("standard deviation of the latent")
        step = _series(lines, {"latent_std": "all channels, training"})
        names = _with_prefix(lines, _STD)[: _MOST_CURVES - 1]
        channels = {name: f"channel {name.removeprefix(_STD)}, validation" for name in names}
        validation = _series(lines, channels)
    _curves(axis, step, smooth=True)
    _curves(axis, validation, marker=".")


def _terms(lines: Iterable[Line]) -> Series:
    series: Series = {}
    for line in lines:
        terms = {"loss": line["loss"]} if "loss" in line else {}
        terms |= {
            f"{name.replace('_', ' ')} x weight": value * line[f"{name}_weight"]
            for name, value in line.items()
            if f"{name}_weight" in line
        }
        _add(series, line, terms)
    return series


def _errors(lines: Iterable[Line]) -> Series:
    """Return the curves of the windows, with the lowest value in their names."""
    names = {n: n.removeprefix(_RMSE).replace("_", " ") for n in _with_prefix(lines, _RMSE)}
    series = _series(lines, names)
    return {f"{n}, lowest {min(pair[1]):.4g}": pair for n, pair in series.items()}


def _series(lines: Iterable[Line], names: Mapping[str, str]) -> Series:
    series: Series = {}
    for line in lines:
        _add(series, line, {label: line[name] for name, label in names.items() if name in line})
    return series


def _add(series: Series, line: Line, values_by_name: Mapping[str, float]) -> None:
    for name, value in values_by_name.items():
        clock, values = series.setdefault(name, ([], []))
        clock.append(line[_CLOCK])
        values.append(value)


def _with_prefix(lines: Iterable[Line], prefix: str) -> list[str]:
    found = dict.fromkeys(name for line in lines for name in line if name.startswith(prefix))
    return list(found)


def _curves(axis: Axes, series: Series, *, smooth: bool = False, marker: str = "") -> None:
    for label, (clock, values) in series.items():
        width = len(values) // _SMOOTH if smooth else 0
        # The curve of the largest term often covers that of the loss.
        thick = 3.0 if label == "loss" else 1.5
        if width < 2:
            axis.plot(clock, values, marker=marker, label=label, linewidth=thick)
            continue
        kernel = np.ones(width) / width
        (bold,) = axis.plot(
            np.convolve(clock, kernel, "valid"),
            np.convolve(values, kernel, "valid"),
            label=label,
            linewidth=thick,
        )
        axis.plot(clock, values, color=bold.get_color(), alpha=0.25, linewidth=0.7, zorder=1)


def _scale(axis: Axes) -> None:
    """Set a logarithmic scale, with a linear part around zero if a term is negative."""
    values = np.concatenate([np.asarray(c.get_ydata(), float) for c in axis.lines] or [np.ones(1)])
    sizes = np.abs(values[values != 0])
    if not sizes.size:
        return
    if values.min() >= 0:
        axis.set_yscale("log", nonpositive="mask")
    else:
        axis.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(np.quantile(sizes, 0.1))))
