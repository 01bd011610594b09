"""HTML tables of metrics and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
_UNITS = {
    "mae": "MAE, HU",
    "rmse": "RMSE, HU",
    "bias": "Bias, HU",
    "p95": "P95, HU",
    "p999": "P99.9, HU",
    "psnr": "PSNR, dB",
}
_WORD = ' class="word"'
_KEY = ("window", "mask", "what")


def summary_table(summary: Mapping[str, Any]) -> str:
    """Return a table of medians, and of quartiles if there are several patients."""
    given = list(summary.get("groups", ()))
    order = {key: n for n, key in enumerate(dict.fromkeys(map(_block, given)))}
    groups = sorted(given, key=lambda group: order[_block(group)])
    metrics = list(dict.fromkeys(k for g in groups for k, v in g.items() if _is_spread(v)))
    head = ["Window", "Mask", "What", "Data range, HU", *map(metric_name, metrics), "Cases"]
    rows = []
    for group in groups:
        cells = [escape(str(group[key])) for key in _KEY]
        cells.append(_plain(group.get("data_range")))
        cells += [_spread(group.get(name), metric_digits(name)) for name in metrics]
        rows.append([*cells, _plain(group.get("cases"))])
    several = summary.get("patients", 0) > 1
    values = "Median and quartiles over patients." if several else "One patient."
    caption = f"{values} PSNR increases with the data range."
    return table(caption, head, rows, words=3)


def _block(group: Mapping[str, Any]) -> tuple[str, str]:
    return str(group["window"]), str(group["mask"])


def metric_name(name: str) -> str:
    """Return the heading of a metric, with its unit."""
    return _UNITS.get(name, name.replace("_", " "))


def metric_digits(name: str) -> int:
    """Return the number of decimals of a metric: two in HU and dB, otherwise four."""
    return 2 if name in _UNITS else 4


def facts_tables(title: str, facts: Mapping[str, Any]) -> str:
    """Return tables of nested settings: one per list of mappings, and one for the rest."""
    single: list[list[str]] = []
    tables = []
    for name, value in _flat(facts):
        if _is_records(value):
            columns = list(dict.fromkeys(key for record in value for key in record))
            body = [[_plain(record.get(key)) for key in columns] for record in value]
            tables.append(table(_heading(name), [_heading(c) for c in columns], body, words=1))
        else:
            single.append([escape(_heading(name)), _plain(value)])
    if single:
        tables.insert(0, table(title, ["Item", "Value"], single, words=2))
    return "\n".join(tables)


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int) -> str:
    """Return an HTML table that scrolls horizontally if it is too wide.

    Args:
        caption: Caption; is escaped.
        head: Column titles; are escaped.
        rows: Cells, already escaped.
        words: Number of leading text columns; the others are numbers, aligned right.
    """
    titles = "".join(
        f'<th scope="col"{_WORD if place < words else ""}>{escape(title)}</th>'
        for place, title in enumerate(head)
    )
    body = "\n".join(f"<tr>{_row(row, words)}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def folded(title: str, content: str, *, opened: bool = False) -> str:
    """Return content that opens on request, or nothing if it is empty; ``title`` is escaped."""
    if not content:
        return ""
    start = " open" if opened else ""
    return f"<details{start}><summary>{escape(title)}</summary>\n{content}\n</details>"


def number(value: float | None, digits: int) -> str:
    """Format a number with a minus sign; ``None`` becomes a dash."""
    # Adding zero removes the sign of negative zero.
    return NONE if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def _row(cells: Sequence[str], words: int) -> str:
    first = f'<th scope="row"{_WORD}>{cells[0]}</th>'
    rest = (
        f"<td{_WORD if place < words else ''}>{cell}</td>"
        for place, cell in enumerate(cells[1:], start=1)
    )
    return first + "".join(rest)


def _spread(value: Any, digits: int) -> str:
    if not _is_spread(value) or value["median"] is None:
        return NONE
    median, low, high = (number(value.get(k), digits) for k in ("median", "q25", "q75"))
    # Quartiles of a single value are that value.
    return median if value.get("q25") is None else f"{median} <small>{low} to {high}</small>"


def _is_spread(value: Any) -> bool:
    return isinstance(value, Mapping) and "median" in value


def _is_records(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(v, Mapping) for v in value)
    )


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in facts.items():
        name = f"{above}, {key}" if above else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        else:
            yield name, value


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, float):
        return f"{value:.5g}".replace("-", MINUS)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value) or NONE
    return escape(str(value))


def _heading(name: str) -> str:
    return name.replace("_", " ")
