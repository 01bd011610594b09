"""Rows of the check of a GPU, in order of value, measured in one process.

Usage: python scripts/gpu/rows.py --device cuda:0 [--toy] [NAME...]

Prints a line of JSON after ``ROW `` for each row as soon as it is measured. `check.py` starts it.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from inference_rows import Bench
from measuring import Setting
from training_rows import compared_steps, large_default_model
from workers import MARK, RESTART

_LARGE = Path(__file__).parents[2] / "configs" / "ct_f4_large.json"
# Memory limit in GiB of the rows that keep to one, and splits of MAISI.
_LIMIT, _SPLITS = 8.0, 16
Rows = dict[str, tuple[float, Callable[[], dict[str, Any]]]]


def rows_of(setting: Setting) -> Rows:
    """Return all rows in order of value: the most seconds that each may take, and its work."""
    bench, fast = Bench(setting), setting.fast
    limit, splits = (1.0, 2) if setting.toy else (_LIMIT, _SPLITS)
    rows: Rows = {"machine": (40, bench.machine)}
    for half in ("decode", "encode"):
        rows |= {
            f"{half}, exact {fast}": (60, lambda h=half: bench.exact(h, fast)),
            f"{half}, MONAI windows {fast}": (60, lambda h=half: bench.windows(h, fast)),
            f"{half}, exact {fast} within {limit:g} GiB": (
                60,
                lambda h=half: bench.exact(h, fast, limit),
            ),
        }
    rows |= {
        "training step": (60, lambda: compared_steps(setting)),
        "training step of ct_f4_large": (40, lambda: large_default_model(setting, _LARGE)),
        f"ct-f4, {fast}": (40, lambda: bench.shelf(fast)),
    }
    for half in ("decode", "encode"):
        rows[f"{half}, exact fp32"] = (60, lambda h=half: bench.exact(h, "fp32"))
    for half in ("decode", "encode"):
        rows[f"{half}, RMS norm, exact {fast} within {limit:g} GiB"] = (
            60,
            lambda h=half: bench.without_group_norm(h, fast, limit),
        )
    rows["ct-f4, fp32"] = (40, lambda: bench.shelf("fp32"))
    for half in ("decode", "encode"):
        rows |= {
            f"{half}, blend {fast}": (40, lambda h=half: bench.blended(h, fast)),
            f"{half}, MAISI splits": (60, lambda h=half: bench.splits(h, splits)),
        }
    if setting.device.type == "cuda":
        rows["training step of ct_f4_large, compiled"] = (
            90,
            lambda: large_default_model(setting, _LARGE, compiled=True),
        )
    for half in ("decode", "encode"):
        if setting.fast != "fp32":
            rows[f"{half}, exact tf32"] = (40, lambda h=half: bench.exact(h, "tf32"))
            rows[f"{half}, MONAI windows fp32"] = (90, lambda h=half: bench.windows(h, "fp32"))
    return rows


def measure(run: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return the figures of a row, or why there are none, and whether the process is still good."""
    try:
        return run(), True
    except torch.OutOfMemoryError as error:
        return {
            "failed": f"out of memory: {str(error).splitlines()[0] if str(error) else ''}"
        }, True
    except Exception as error:
        traceback.print_exc()
        # After an error of CUDA nothing works in this process any more.
        return {"failed": f"{type(error).__name__}: {error}"[:500]}, "CUDA" not in str(error)


def main() -> None:
    """Measure the named rows, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--toy", action="store_true", help="tiny sizes")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all rows by default")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = rows_of(Setting(torch.device(options.device), options.toy))
    print(MARK + json.dumps({"ready": True}), flush=True)
    for name in options.names or rows:
        figures, good = measure(rows[name][1])
        print(MARK + json.dumps({"row": name, **figures}), flush=True)
        if options.device.startswith("cuda"):
            torch.cuda.empty_cache()
        if not good:
            sys.exit(RESTART)


if __name__ == "__main__":
    main()
