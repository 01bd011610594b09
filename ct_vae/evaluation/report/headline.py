"""Headline of the report: the model next to the baselines, in one chart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ct_vae.evaluation.pictures.method_styles import METHODS
from ct_vae.evaluation.rate_distortion.curve import REGIONS, Region
from ct_vae.evaluation.rate_distortion.plot import TITLES
from ct_vae.evaluation.rate_distortion.summary import MODEL, CaseCurves, mean_curves
from ct_vae.evaluation.report.axes import Axes
from ct_vae.evaluation.report.listing import NONE, number, table

_BARS = ("reconstruction", "jpeg2000", "klt", "resample")
_WINDOWS = ("full", "soft_tissue")
_WIDTH, _ROW, _TEXT, _NUMBER = 340, 26, 92, 46
# Room above and below the points of a curve, as a factor.
_MARGIN = 1.15


def headline(
    summary: Mapping[str, Any], curves: Sequence[CaseCurves], rates: Mapping[str, float | None]
) -> str:
    """Return rate-distortion curves if there are some, otherwise bars of the errors.

    Args:
        summary: Result of `tables.summarize`, with ``rate_distortion`` if curves were measured.
        curves: Rate-distortion curves of the cases; may be empty.
        rates: Median size of the codes in bits per voxel, by description.
    """
    parts = [f'<p class="key">{escape(line)}</p>' for line in _sentences(summary, rates)]
    if curves:
        plots = "".join(curve_plot(curves, region) for region in REGIONS)
        names = dict.fromkeys(curve.name for case in curves for curve in case.curves)
        parts.append(f'<div class="plots">{plots}</div>{_legend(names)}')
        parts.append(_comparison(summary.get("rate_distortion", {})))
    else:
        parts.append(f'<div class="plots">{"".join(bar_plots(summary))}</div>')
    return "\n".join(parts)


def bar_plots(summary: Mapping[str, Any]) -> list[str]:
    """Return a chart of the median RMSE per window, in the first mask of the summary."""
    groups = list(summary.get("groups", ()))
    mask = groups[0]["mask"] if groups else ""
    windows = dict.fromkeys(group["window"] for group in groups)
    shown = [name for name in _WINDOWS if name in windows] or list(windows)[:1]
    return [plot for window in shown if (plot := _bars(groups, window, mask))]


def curve_plot(cases: Sequence[CaseCurves], region: Region) -> str:
    """Return the plot of the mean curves over cases, on logarithmic scales."""
    curves = [(c.name, *c.front(region)) for c in mean_curves(cases, region)]
    curves = [curve for curve in curves if len(curve[1])]
    if not curves:
        return ""
    levels = [] if any(case.curve(MODEL) for case in cases) else _levels(cases, region)
    rates = [float(rate) for _, found, _ in curves for rate in found]
    errors = [*(float(error) for *_, found in curves for error in found), *levels]
    axes = Axes(
        (min(rates) / _MARGIN, max(rates) * _MARGIN),
        (min(errors) / _MARGIN, max(errors) * _MARGIN),
        log=True,
        log_x=True,
    )
    marks = [axes.colored_curve(x, y, METHODS[name], bold=name == MODEL) for name, x, y in curves]
    marks += [axes.level(level, dashed=True) for level in levels]
    note = "Mean of the cases." if len(cases) > 1 else ""
    if levels:
        note += " Dashed: the reconstructions."
    return axes.figure(TITLES[region], "bits per voxel", "RMSE, HU", marks, note.strip())


def _levels(cases: Sequence[CaseCurves], region: Region) -> list[float]:
    return [case.errors[region] for case in cases if case.errors[region] > 0]


def _bars(groups: Sequence[Mapping[str, Any]], window: str, mask: str) -> str:
    found = {
        group["what"]: group["rmse"]["median"]
        for group in groups
        if (group["window"], group["mask"]) == (window, mask) and group["what"] in _BARS
    }
    values = {name: found[name] for name in _BARS if found.get(name) is not None}
    if not values:
        return ""
    longest = max(*values.values(), 1e-9)
    rows = []
    for place, (name, value) in enumerate(values.items()):
        style, top = METHODS[name], place * _ROW
        length = (_WIDTH - _TEXT - _NUMBER) * value / longest
        rows.append(
            f'<text x="{_TEXT - 8}" y="{top + 17}" class="end">{escape(style.label)}</text>'
            f'<rect class="own" fill="{style.color}" x="{_TEXT}" y="{top + 4}" '
            f'width="{max(length, 1):.1f}" height="{_ROW - 8}"/>'
            f'<text x="{_TEXT + length + 6:.1f}" y="{top + 17}">{number(value, 1)}</text>'
        )
    title = f"RMSE in HU, {mask.replace('_', ' ')}, {window.replace('_', ' ')} window"
    told = ", ".join(f"{METHODS[name].label} {number(v, 1)}" for name, v in values.items())
    return (
        f'<figure class="plot bars"><svg viewBox="0 0 {_WIDTH} {len(values) * _ROW}" role="img" '
        f'aria-label="{escape(title)}: {escape(told)}">{"".join(rows)}</svg>'
        f"<figcaption><b>{escape(title)}</b> {_explained(values)}</figcaption></figure>"
    )


def _explained(names: Collection[str]) -> str:
    words = ["Shorter is better."]
    words += ["JPEG 2000 has as many bits as the latent on disk."] * ("jpeg2000" in names)
    words += ["KLT and resampling have as many numbers as the latent."] * ("klt" in names)
    return " ".join(words)


def _sentences(summary: Mapping[str, Any], rates: Mapping[str, float | None]) -> Iterable[str]:
    groups, cases = list(summary.get("groups", ())), summary.get("cases", 0)
    middle = f" (median of {cases} cases)" if cases > 1 else ""
    errors = {
        group["window"]: group["rmse"]["median"]
        for group in groups
        if group["what"] == "reconstruction" and group["mask"] == groups[0]["mask"]
    }
    told = [
        f"{number(errors[window], 1)} HU in the {window.replace('_', ' ')} window"
        for window in _WINDOWS
        if errors.get(window) is not None
    ]
    if told:
        place = groups[0]["mask"].replace("_", " ")
        yield f"RMSE of the reconstruction, mask {place}: {', '.join(told)}{middle}."
    sizes = [f"{number(rate, 3)} {words}" for words, rate in rates.items() if rate is not None]
    if sizes:
        yield f"Bits per voxel: {', '.join(sizes)}{middle}."


def _legend(names: Iterable[str]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 26 8" aria-hidden="true">{_swatch(name)}</svg>'
        f"{escape(METHODS[name].label)}</li>"
        for name in names
    )
    return f'<ul class="legend">{items}</ul>'


def _swatch(name: str) -> str:
    style = METHODS[name]
    dashes = f' stroke-dasharray="{" ".join(map(str, style.dashes))}"' if style.dashes else ""
    width = 3 if name == MODEL else 2
    return f'<path d="M1 4H25" stroke="{style.color}" stroke-width="{width}"{dashes}/>'


def _comparison(found: Mapping[str, Any]) -> str:
    """Return the table of rates at equal error and Bjontegaard delta rates."""
    rows = []
    for region in REGIONS:
        for method in found.get(region, {}).get("methods", ()):
            crossings = ", ".join(number(rate, 3) for rate in method["crossings"]) or NONE
            rows.append(
                [
                    escape(METHODS[method["method"]].label),
                    escape(TITLES[region]),
                    number(method["bits_at_equal_error"], 3),
                    number(method["bd_rate"], 0),
                    crossings,
                ]
            )
    head = [
        "Compared with",
        "Region",
        "Its bits per voxel at the model's error",
        "BD-rate of the model, %",
        "Curves cross at, bits per voxel",
    ]
    caption = "Negative BD-rate: the model needs fewer bits at equal RMSE"
    return table(caption, head, rows, words=2) if rows else ""
