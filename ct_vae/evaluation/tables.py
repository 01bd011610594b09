"""Writing of metric tables, and the summary over all cases."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ct_vae.errors import OutputError
from ct_vae.evaluation.metrics.median_interval import median_interval
from ct_vae.evaluation.metrics.metric_rows import PLAIN_METRICS, MetricRow
from ct_vae.io.atomic.file import write_text

RESULT_FILES = (
    "metrics.csv",
    "summary.json",
    "protocol.json",
    "cases.csv",
    "report.html",
    "probe.json",
    "latent.json",
    "organs.csv",
    "rate_distortion.csv",
    "rate_distortion.png",
    "rate_distortion.svg",
)
_WORST = 5
_SPREAD = ("median", "q25", "q75", "low95", "high95", "coverage")
_NAMES = ("case", "what", "window", "mask", "n", "data_range", "note")


def write_csv(rows: Sequence[MetricRow], path: Path) -> None:
    """Write one line per metric row; undefined values are empty cells.

    Raises:
        OutputError: If the file cannot be written.
    """
    lines = [{name: getattr(row, name) for name in _NAMES[:5]} | row.numbers() for row in rows]
    for line, row in zip(lines, rows, strict=True):
        line |= {"data_range": row.data_range, "note": row.note}
    write_table(lines, path, (*_NAMES[:5], *PLAIN_METRICS))


def write_table(lines: Sequence[Mapping[str, Any]], path: Path, first: Sequence[str] = ()) -> None:
    """Write mappings as a CSV file with one column per key; the keys in ``first`` come first.

    Raises:
        OutputError: If the file cannot be written.
    """
    columns = dict.fromkeys([*first, *(key for line in lines for key in line)])
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(columns), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    write_text(path, text.getvalue())


def clear_results(folder: Path) -> None:
    """Remove the results of an earlier evaluation from a folder.

    Raises:
        OutputError: If a file cannot be removed.
    """
    named = re.compile(r"case_\d{4,}(\.png|_latent\.png|_.*\.nii\.gz)")
    try:
        own = [path for path in folder.glob("case_*") if named.fullmatch(path.name)]
        for path in [folder / name for name in RESULT_FILES] + own:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror}", "choose another folder"
        ) from error


def summarize(
    rows: Sequence[MetricRow], patients: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Compute median and quartiles over patients, for each method, window and mask.

    Args:
        rows: Rows of all cases.
        patients: Patient of each case; by default each case is its own patient. Values are averaged
            over the cases of a patient.

    Returns:
        ``{"cases": number, "patients": number, "groups": [...]}``. A group has ``what``,
        ``window``, ``mask``, ``data_range``, ``cases``, ``notes``, ``worst`` (the five cases with
        the largest RMSE) and, for each metric, ``median``, ``q25`` and ``q75`` (``None`` for one
        patient), the confidence interval ``low95`` to ``high95`` of the median with its
        ``coverage`` of at least 0.95 (``None`` for fewer than 6 patients), and the number ``n`` of
        patients for which the metric is defined.
    """
    patients = patients or {}
    groups: dict[tuple[str, str, str, float], list[MetricRow]] = defaultdict(list)
    for row in rows:
        groups[row.what, row.window, row.mask, row.data_range].append(row)
    cases = {row.case for row in rows}
    return {
        "cases": len(cases),
        "patients": len({patients.get(case, case) for case in cases}),
        "groups": [
            {
                "what": what,
                "window": window,
                "mask": mask,
                "data_range": data_range,
                "cases": len(members),
                "notes": sorted({row.note for row in members if row.note}),
                "worst": _worst(members),
                **_spreads(members, patients),
            }
            for (what, window, mask, data_range), members in groups.items()
        ],
    }


def _worst(rows: Sequence[MetricRow]) -> list[dict[str, Any]]:
    defined = [(row.rmse, row.case) for row in rows if row.rmse is not None]
    worst = sorted(defined, key=lambda each: (-each[0], each[1]))[:_WORST]
    return [{"case": case, "rmse": rmse} for rmse, case in worst]


def _spreads(
    rows: Sequence[MetricRow], patients: Mapping[str, str]
) -> dict[str, dict[str, float | int | None]]:
    names = dict.fromkeys(name for row in rows for name in row.numbers())
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    for row in rows:
        for name, value in row.numbers().items():
            if value is not None:
                found[name][patients.get(row.case, row.case)].append(value)
    return {
        name: _spread([math.fsum(values) / len(values) for values in of.values()])
        for name, of in found.items()
    }


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = dict.fromkeys(_SPREAD)
    if values:
        found["median"] = float(np.median(values))
    if len(values) > 1:
        found["q25"], found["q75"] = np.percentile(values, [25, 75]).tolist()
    interval = median_interval(values)
    if interval is not None:
        found["low95"], found["high95"], found["coverage"] = interval
    return found | {"n": len(values)}
