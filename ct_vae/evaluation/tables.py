"""Metric rows as files: one table with every row, one summary over the cases."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from ct_vae.errors import OutputError
from ct_vae.evaluation.metrics import MetricRow
from ct_vae.io.atomic import write_json, write_text

_NUMBERS = ("mae", "rmse", "bias", "psnr")


def write_csv(rows: Sequence[MetricRow], path: Path) -> None:
    """Write a row per case, thing judged, window and mask; an undefined value is an empty cell.

    Raises:
        OutputError: If the file cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, [field.name for field in fields(MetricRow)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())


def write_summary(rows: Sequence[MetricRow], path: Path) -> None:
    """Write what `summarise` says as JSON; an undefined value is ``null``.

    Raises:
        OutputError: If the file cannot be written.
    """
    write_json(path, summarise(rows))


def clear_results(folder: Path) -> None:
    """Remove what an earlier evaluation wrote into a folder, lest it pass for the new one.

    Raises:
        OutputError: If a file cannot be removed.
    """
    names = ["metrics.csv", "summary.json"]
    pictures = [p for p in folder.glob("case_*.png") if re.fullmatch(r"case_\d{4,}\.png", p.name)]
    try:
        for path in [folder / name for name in names] + pictures:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror}", "choose another folder"
        ) from error


def summarise(rows: Sequence[MetricRow]) -> dict[str, Any]:
    """Median and quartiles over cases, for each thing judged, window and mask.

    Returns:
        ``{"cases": number, "groups": [...]}``. A group has ``what``, ``window``, ``mask``,
        ``data_range``, ``cases``, ``notes`` and, for each metric, ``median``, ``q25`` and ``q75``
        over the cases where it is defined (``null`` when there is none) and their number ``n``.
    """
    groups: dict[tuple[str, str, str, float], list[MetricRow]] = defaultdict(list)
    for row in rows:
        groups[row.what, row.window, row.mask, row.data_range].append(row)
    return {
        "cases": len({row.case for row in rows}),
        "groups": [
            {
                "what": what,
                "window": window,
                "mask": mask,
                "data_range": data_range,
                "cases": len(members),
                "notes": sorted({row.note for row in members if row.note}),
                **{name: _quartiles([getattr(row, name) for row in members]) for name in _NUMBERS},
            }
            for (what, window, mask, data_range), members in groups.items()
        ],
    }


def _quartiles(values: Sequence[float | None]) -> dict[str, float | int | None]:
    defined = [value for value in values if value is not None]
    if not defined:
        return {"median": None, "q25": None, "q75": None, "n": 0}
    q25, median, q75 = np.percentile(defined, [25, 50, 75]).tolist()
    return {"median": median, "q25": q25, "q75": q75, "n": len(defined)}
