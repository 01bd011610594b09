"""Markdown tables of what `scripts/gpu_check.sh` has measured, for docs/benchmarks.md.

Usage: python scripts/gpu/table.py gpu_check.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
HALVES = ("decode", "encode")


def text_of(report: Mapping[str, Any]) -> str:
    """Return the tables of a report; parts that were not measured are left out."""
    rows = report["rows"]
    parts = [
        _conditions(report),
        _inference(rows),
        _training(rows),
        _default_model(rows),
        _failures(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _conditions(report: Mapping[str, Any]) -> str:
    conditions = report["conditions"]
    text = f"{conditions.get('name', conditions['device'])}, PyTorch {conditions['torch']}"
    if conditions.get("cuda"):
        text += f", CUDA {conditions['cuda']}, cuDNN {conditions['cudnn']}"
    machine = next((row for row in report["rows"] if row["row"] == "machine"), {})
    if rates := machine.get("tflops"):
        text += "; matrix products " + ", ".join(
            f"{r:.4g} TFLOP/s in {k}" for k, r in rates.items()
        )
    tests = report.get("tests", {})
    counts = [f"{tests[k]} {k}" for k in ("passed", "failed", "error", "skipped") if k in tests]
    if counts:
        text += f". Tests for GPUs: {', '.join(counts)}"
    return text + "."


def _inference(rows: Sequence[Row]) -> str:
    """Return the rows of encoding and decoding, with times relative to MONAI's windows."""
    errors: dict[str, float] = {}
    for row in rows:
        errors |= row.get("errors", {})
    lines = []
    for half in HALVES:
        mine = [row for row in rows if row["row"].startswith(f"{half}, ") and "seconds" in row]
        windows = [row["seconds"] for row in mine if "MONAI windows" in row["row"]]
        for row in mine:
            cells = {
                "seconds": f"{row['seconds']:.3g}",
                "time": f"{row['seconds'] / windows[0]:.2f}" if windows else "",
                "peak": _number(row, "peak_mb", 1024, ".1f"),
                "planned": _number(row, "planned_mb", 1024, ".1f"),
                "error": _error(row, errors),
                "share": f"{row['share']:.1%}" if "share" in row else "",
            }
            lines.append([row["row"], *cells.values()])
    header = [
        "task",
        "seconds",
        "time / first MONAI windows",
        "peak GiB",
        "planned GiB",
        "error to fp32",
        "share of bf16 rate",
    ]
    return _table(header, lines)


def _error(row: Row, errors: Mapping[str, float]) -> str:
    error = row.get("error", errors.get(row["row"]))
    return "" if error is None else f"{error:.1e}"


def _number(row: Row, key: str, scale: float, form: str) -> str:
    return format(row[key] / scale, form) if key in row else ""


def _training(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row["row"] == "training step" and "speed" in row:
            for name in ("MONAI loop", "ct_vae"):
                part, speed = row[name], row["speed"] if name == "ct_vae" else 1.0
                peak = _number(part, "peak_mb", 1024, ".1f")
                what = f"{name}, {row['patches']} patches of {row['patch_size']}^3"
                lines.append([what, f"{1000 * part['seconds']:.4g}", f"{speed:.2f}", peak])
        if row["row"].startswith("training step of ct_f4_large") and "seconds" in row:
            name = row["row"].removeprefix("training step of ")
            what = (
                f"{name} ({row['samples_per_second']:.4g} patches per second, "
                f"{row['minutes_for_all_samples']:.3g} minutes for all)"
            )
            peak = _number(row, "peak_mb", 1024, ".1f")
            lines.append([what, f"{1000 * row['seconds']:.4g}", "", peak])
    return _table(["training step", "ms", "times as fast", "peak GiB"], lines)


def _default_model(rows: Sequence[Row]) -> str:
    lines = [
        [
            f"{row['row']}, {half}",
            f"{row[half]['seconds']:.3g}",
            _number(row[half], "peak_mb", 1024, ".1f"),
            f"{row[half]['error']:.1e}",
        ]
        for row in rows
        for half in HALVES
        if row["row"].startswith("ct-f4, ") and half in row
    ]
    return _table(["default model", "seconds", "peak GiB", "difference to the first row"], lines)


def _failures(rows: Sequence[Row]) -> str:
    failed = [f"- {row['row']}: {row['failed']}" for row in rows if "failed" in row]
    return "Not measured:\n\n" + "\n".join(failed) if failed else ""


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def main() -> None:
    """Print the tables of the named file."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} gpu_check.json")
    print(text_of(json.loads(Path(sys.argv[1]).read_text())), end="")


if __name__ == "__main__":
    main()
