"""HTML of the report except the voxels: tables, images, plots, style and script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from ct_vae.evaluation.metrics.metric_rows import MetricRow
from ct_vae.evaluation.pictures.error_colors import ERROR_HU
from ct_vae.evaluation.rate_distortion.curve import REGIONS
from ct_vae.evaluation.rate_distortion.summary import CaseCurves
from ct_vae.evaluation.report.headline import headline
from ct_vae.evaluation.report.listing import (
    facts_tables,
    folded,
    metric_digits,
    metric_name,
    number,
    summary_table,
    table,
)
from ct_vae.evaluation.report.pictures import PICTURE_SIZE, PICTURE_WINDOW
from ct_vae.evaluation.report.viewer import View, framed, source, viewer_data, viewer_section

_VIEWS: tuple[View, ...] = ("original", "reconstruction", "error")
_BYTES = "<!--voxels-->"
# Pictures of the worst cases; those of the others are folded.
_PICTURES_FIRST = 6
# The patient's right and left in each of the three parts of a picture.
_MARKS = '<span class="marks" aria-hidden="true"><i>R</i><i>L</i></span>' * 3


@dataclass(eq=False)
class Shown:
    """Content of the page for one case.

    Attributes:
        name: Name of the case.
        rmse: Root mean square error in the full range, in HU.
        worst_hu: Largest error in HU.
        where: Description of the region in which errors were searched.
        rows: Metrics of the reconstruction and of the baselines.
        notes: Notes on the case.
        description: See `payload.payload_of`; ``None`` if the case is not in the viewer.
        picture: PNG as base64 text; empty if there is none.
        plots: SVG figures.
    """

    name: str
    rmse: float
    worst_hu: float
    where: str
    rows: list[MetricRow]
    notes: tuple[str, ...]
    description: dict[str, Any] | None
    picture: str
    plots: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Findings:
    """Results over all cases.

    Attributes:
        rows: Rows of all cases.
        summary: Result of `tables.summarize`.
        protocol: Settings and versions.
        probe: Results of the phantom probe.
        curves: Rate-distortion curves of the cases.
    """

    rows: Sequence[MetricRow]
    summary: Mapping[str, Any]
    protocol: Mapping[str, Any]
    probe: Mapping[str, Any] | None = None
    curves: Sequence[CaseCurves] = ()


def page(shown: Sequence[Shown], found: Findings, *, model: str, full: bool) -> tuple[bytes, bytes]:
    """Return the HTML before and after the voxels, in UTF-8.

    Args:
        shown: Cases, worst first.
        found: Results over all cases.
        model: Name of the model.
        full: True if the viewer contains all voxels.
    """
    main = Template(source("page.html")).substitute(
        headline=headline(found.summary, found.curves, _rates(found.summary)),
        viewer=viewer_section(_VIEWS, _held(shown, full=full)),
        pictures=_pictures(shown),
        tables="\n".join(
            (
                folded("Summary of all metrics", summary_table(found.summary)),
                folded("Errors of the cases, worst first", _case_table(shown)),
                folded("Every case, window and mask", _row_table(found.rows)),
                folded("Organs", _facts("Organs", _part(found.summary, "organs"))),
                folded("Codebook", _facts("Codebook", found.summary.get("codebook"))),
                folded("Phantom probe", _facts("Phantom probe", found.probe)),
                folded("Protocol", _facts("Protocol", found.protocol)),
            )
        ),
    )
    notes = (
        f"{f'<p>Model: {escape(model)}</p>' if model else ''}"
        f"<p>{_count(len(shown))}. Reconstructions are lossy, derived, not for diagnosis.</p>"
    )
    data = viewer_data(_VIEWS, _viewer_cases(shown))
    text = framed("CT reconstruction report", notes, main, data, _BYTES)
    before, _, after = text.partition(_BYTES)
    return before.encode(), after.encode()


def _viewer_cases(shown: Sequence[Shown]) -> list[dict[str, Any]]:
    return [
        {"name": case.name, "place": place, **case.description}
        for place, case in enumerate(shown)
        if case.description is not None
    ]


def _held(shown: Sequence[Shown], *, full: bool) -> str:
    viewed = sum(case.description is not None for case in shown)
    pictured = sum(bool(case.picture) for case in shown)
    kept = "every voxel where it fits" if full else "a sampled volume and whole slices"
    parts = [f"The viewer holds {kept}; it says with each slice which of both it shows."]
    if viewed < len(shown):
        parts.append(
            f"To keep the file small it holds the {viewed} worst of {len(shown)} cases; "
            f"{pictured} have a picture, and all are in the tables."
        )
    return " ".join(parts)


def _count(cases: int) -> str:
    return "1 case" if cases == 1 else f"{cases} cases"


def _figure(place: int, case: Shown) -> str:
    what = (
        f"{case.name}: original, reconstruction and error, axial slice with the largest error, "
        f"window {PICTURE_WINDOW.width:g}/{PICTURE_WINDOW.level:g} HU, error up to "
        f"{ERROR_HU:g} HU"
    )
    opened = (
        ""
        if case.description is None
        else (f'<button type="button" class="open" data-place="{place}" hidden>View</button>')
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in case.notes)
    width, height = PICTURE_SIZE
    content = f'<div class="plots">{"".join(case.plots)}</div>' if case.plots else ""
    plots = folded("Plots", content)
    return (
        f'<article class="case"><h3>{escape(case.name)} {opened}</h3>'
        f'<div class="picture"><img alt="{escape(what)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{case.picture}">{_MARKS}</div>'
        f"<p>RMSE {number(case.rmse, 1)} HU in {escape(case.where)}, largest error "
        f"{number(case.worst_hu, 0)} HU</p>"
        f"{f'<ul>{notes}</ul>' if notes else ''}{plots}</article>"
    )


def _case_table(shown: Sequence[Shown]) -> str:
    rows = [
        [
            escape(case.name),
            number(case.rmse, 2),
            number(case.worst_hu, 0),
            escape(case.where),
            escape("; ".join(case.notes)),
        ]
        for case in shown
    ]
    head = ["Case", "RMSE, HU", "Largest error, HU", "Where", "Notes"]
    return table("Errors in the full range, worst first", head, rows, words=1)


def _row_table(rows: Sequence[MetricRow]) -> str:
    metrics = list(dict.fromkeys(name for row in rows for name in row.numbers()))
    head = ["Case", "What", "Window", "Mask", "Voxels", "Data range, HU"]
    cells = [
        [
            *(escape(str(t)) for t in (row.case, row.what, row.window, row.mask)),
            str(row.n),
            f"{row.data_range:g}",
            *(number(row.numbers().get(name), metric_digits(name)) for name in metrics),
        ]
        for row in rows
    ]
    caption = "Every case, window and mask"
    return table(caption, [*head, *map(metric_name, metrics)], cells, words=4)


def _facts(title: str, facts: Mapping[str, Any] | None) -> str:
    return facts_tables(title, facts) if facts else ""


def _part(summary: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return {name: summary[name]} if summary.get(name) else None


def _rates(summary: Mapping[str, Any]) -> dict[str, float | None]:
    found = summary.get("rate_distortion")
    if not found:
        return {
            "on disk": summary.get("bits_per_voxel"),
            "coded at +1 % RMSE (predicted)": summary.get("bits_per_voxel_at_1_percent"),
        }
    return {"on disk": found["bits_on_disk"]} | {
        f"at +1 % RMSE ({region.replace('_', ' ')})": found[region]["bits_at_1_percent"]
        for region in REGIONS
    }


def _pictures(shown: Sequence[Shown]) -> str:
    figures = [_figure(place, case) for place, case in enumerate(shown) if case.picture]
    first, rest = figures[:_PICTURES_FIRST], figures[_PICTURES_FIRST:]
    more = folded(f"{len(rest)} more", _grid(rest)) if rest else ""
    return _grid(first) + more


def _grid(figures: Sequence[str]) -> str:
    return '<div class="cases">\n{}\n</div>'.format("\n".join(figures))
