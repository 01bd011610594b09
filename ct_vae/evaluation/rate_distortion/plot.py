"""Plot of rate-distortion curves as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.evaluation.pictures.method_styles import METHODS, MethodStyle
from ct_vae.evaluation.rate_distortion.curve import REGIONS, Curve, Region
from ct_vae.evaluation.rate_distortion.summary import MODEL, CaseCurves, mean_curves
from ct_vae.io.atomic.file import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES: dict[Region, str] = {"body": "Body", "soft_tissue": "Soft tissue window, body"}
_DPI = 130


def write_plot(cases: Sequence[CaseCurves], path: str | Path, *, title: str = "") -> None:
    """Write the mean curves over cases, with one panel per region.

    Args:
        cases: Curves of all cases.
        path: Output file; its suffix, ``.png`` or ``.svg``, is the format.
        title: Title of the plot.

    Raises:
        OutputError: If the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # Text stays text, and the file depends on nothing but the curves.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ct_vae"}):
        figure = Figure(figsize=(9.5, 4.4), layout="constrained")
        for axes, region in zip(figure.subplots(1, 2), REGIONS, strict=True):
            _draw(axes, cases, region)
        figure.suptitle(title)
        kind = Path(path).suffix[1:]
        with atomic_write(path) as file:
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(file, format=kind, dpi=_DPI, metadata=metadata)


def draw_curves(
    axes: Axes, curves: Sequence[tuple[Curve, MethodStyle]], region: Region, title: str
) -> None:
    """Draw curves on logarithmic scales, with a legend.

    Args:
        axes: Axes to draw on.
        curves: Curves with the style of their methods; those of models are thicker.
        region: Region of the errors.
        title: Title of the panel.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    for curve, style in curves:
        rates, errors = curve.front(region)
        axes.plot(
            rates,
            errors,
            color=style.color,
            linestyle=(0, style.dashes) if style.dashes else "-",
            linewidth=2.2 if curve.name == MODEL else 1.4,
            marker="o" if len(rates) < 12 else None,
            markersize=3.5,
            label=style.label,
        )
    axes.set(xscale="log", yscale="log", title=title)
    axes.set_xlabel("bits per voxel")
    axes.set_ylabel("RMSE, HU")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    if curves:
        axes.legend(frameon=False)


def _draw(axes: Axes, cases: Sequence[CaseCurves], region: Region) -> None:
    curves = [(curve, METHODS[curve.name]) for curve in mean_curves(cases, region)]
    draw_curves(axes, curves, region, TITLES[region])
    if not any(case.curve(MODEL) for case in cases):
        for case in cases:
            axes.axhline(case.errors[region], color=METHODS[MODEL].color, linewidth=1)
