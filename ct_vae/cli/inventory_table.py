"""Table of an inventory for the terminal, followed by remarks and totals."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ct_vae.console import SafeConsole
from ct_vae.terminal import printable

if TYPE_CHECKING:
    from ct_vae.datasets.sources.patient_split import CaseAssignment, ListName
    from ct_vae.find_volumes.inventory import Row

_PLAIN_WIDTH = 120
# On narrower terminals, columns are left out so that paths are readable.
_ROOMY_WIDTH = 110
_SHOWN_COPIES = 5
_STYLES = {"ok": "green", "refused": "red", "skipped": "dim"}
_LISTS: dict[ListName, str] = {"training": "train", "validation": "val", "test": "test"}


def show_rows(
    rows: Sequence[Row],
    places: Sequence[CaseAssignment | None],
    other_files: int,
    given: Sequence[Path],
    console: Console | None = None,
    suffixes: str = "",
) -> None:
    """Print a table of all rows, the reasons for unusable ones, and totals.

    Args:
        rows: Rows of the inventory.
        places: Split and patient of each row, or ``None`` if it is not listed.
        other_files: Number of files without a row.
        given: Paths given by the user; their common folder is printed only once.
        console: Console to print on; defaults to standard output.
        suffixes: Counts of the other files by suffix.
    """
    if console is None:
        console = SafeConsole()
        console = console if console.is_terminal else SafeConsole(width=_PLAIN_WIDTH)
    base = _base(given)
    names = [_name(row.path, base) for row in rows]
    if base:
        console.print(Text(f"Below {printable(base)}:"), soft_wrap=True)
    console.print(_table(rows, names, places, roomy=console.width >= _ROOMY_WIDTH))
    console.print()
    for style, line in _remarks(rows, names, places):
        console.print(Text(line, style), soft_wrap=True)
    for line in _sums(rows, places, other_files, suffixes):
        console.print(Text(line), soft_wrap=True)


def _table(
    rows: Sequence[Row],
    names: Sequence[str],
    places: Sequence[CaseAssignment | None],
    roomy: bool,
) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("path", overflow="fold", ratio=1)
    for name in ("kind", "size", "spacing mm", "HU 1 50 99 %", "verdict"):
        table.add_column(name, no_wrap=True)
    if roomy:
        table.add_column("patient", justify="right", no_wrap=True)
    for row, name, place in zip(rows, names, places, strict=True):
        kind = f"{row.kind} {row.modality or ''}" if roomy else row.modality or row.kind
        listed = f" {_LISTS[place.list_name]}" if place and place.same_as is None else ""
        cells = [
            Text(name),
            Text(printable(kind)),
            Text("x".join(map(str, row.size or ())) or "-"),
            Text("x".join(f"{mm:.{3 if roomy else 2}g}" for mm in row.spacing_mm or ()) or "-"),
            Text(" ".join(map(str, row.hu or ())) or "-"),
            Text(row.verdict + listed, _STYLES[row.verdict]),
        ]
        if roomy:
            cells.append(Text(str(place.patient) if place else "-"))
        table.add_row(*cells)
    return table


def _remarks(
    rows: Sequence[Row], names: Sequence[str], places: Sequence[CaseAssignment | None]
) -> Iterator[tuple[str, str]]:
    """Yield style and text of a line for each row that is not listed."""
    for row, name, place in zip(rows, names, places, strict=True):
        if row.verdict != "ok":
            yield _STYLES[row.verdict], f"{row.verdict}: {name}: {printable(row.reason)}"
        elif place is None:
            yield "yellow", f"not listed: {name}: --patient does not match its path"
    for original, copies in _copies(names, places).items():
        shown = ", ".join(copies[:_SHOWN_COPIES])
        more = len(copies) - _SHOWN_COPIES
        others = f" and {more} more" if more > 0 else ""
        yield "yellow", f"not listed: {shown}{others}: the same volume as {names[original]}"


def _copies(names: Sequence[str], places: Sequence[CaseAssignment | None]) -> dict[int, list[str]]:
    """Return the names of the copies of each volume that occurs several times."""
    copies: dict[int, list[str]] = defaultdict(list)
    for name, place in zip(names, places, strict=True):
        if place is not None and place.same_as is not None:
            copies[place.same_as].append(name)
    return copies


def _sums(
    rows: Sequence[Row],
    places: Sequence[CaseAssignment | None],
    other_files: int,
    suffixes: str = "",
) -> Iterator[str]:
    from ct_vae.find_volumes.patients import RULE

    verdicts = Counter(row.verdict for row in rows)
    parts = [f"{verdicts[v]} {v}" for v in ("ok", "refused", "skipped") if verdicts[v]]
    others = f"; {other_files} other files" if other_files else ""
    others += f" ({printable(suffixes)})" if suffixes else ""
    yield f"{', '.join(parts)}{others}"
    odd = sum(bool(row.warnings) for row in rows)
    if odd:
        yield f"{odd} with warnings, for example about padding; use --json to see them"
    listed = [place for place in places if place and place.same_as is None]
    lists = Counter(place.list_name for place in listed)
    patients = len({place.patient for place in listed})
    shown = ", ".join(f"{name} {lists[name]}" for name in _LISTS)
    if listed:
        yield f"{len(listed)} different volumes of {patients} patients: {shown}"
        yield RULE


def _base(given: Sequence[Path]) -> str:
    """Return the common folder of all paths, or an empty string."""
    folders = [str(path if path.is_dir() else path.parent) for path in given]
    try:
        base = os.path.commonpath(folders)
    except ValueError:
        return ""
    return "" if base in ("", ".", "/") else base


def _name(path: str, base: str) -> str:
    return printable(path.removeprefix(f"{base}/") if base else path)
