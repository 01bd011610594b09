"""Memory that exact encoding and decoding use, compared with the plan, over models and sizes.

Usage: python scripts/bench_memory.py [--rows FIRST LAST] [--json FILE]
       python scripts/bench_memory.py --model rms 64 128 256 --half decode --sides 256 256 256 \
           --max-memory-gb 1.5

Each row runs in a process of its own, whose peak of resident memory is compared with the plan. The
memory before the run is subtracted: libraries, weights and the input. With ``--max-memory-gb``,
one model runs under the limit that a user would give, which includes all of these.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ct_vae.inference.execution_plan import ExecutionPlan, plan_execution
from ct_vae.inference.tiling import Tiling
from ct_vae.inference.volume_adapter import VolumeAdapter
from ct_vae.models import AutoencoderKL

MIB = 2**20
FACTOR, WARM_SIDE = 4, 32


@dataclass(frozen=True)
class Row:
    """A model and a volume.

    Attributes:
        norm: Normalization of the model.
        widths: Channels of the three levels.
        half: ``encode`` or ``decode``.
        sides: Sides of the volume.
        share: Available memory as a share of what the run takes without a limit; ``None`` sets no
            limit.
        attention: If true, the model has attention at its lowest resolution.
    """

    norm: str
    widths: tuple[int, ...]
    half: str
    sides: tuple[int, int, int]
    share: float | None = None
    attention: bool = False


SMALL, MEDIUM, LARGE = (8, 16, 32), (16, 32, 64), (32, 64, 128)
TABLE = (
    Row("rms", SMALL, "encode", (192, 192, 64), 1.5),
    Row("rms", SMALL, "decode", (192, 192, 64), 0.6),
    Row("rms", MEDIUM, "encode", (128, 128, 128), 1.5),
    Row("rms", MEDIUM, "encode", (128, 128, 128), 0.6),
    Row("rms", MEDIUM, "decode", (128, 128, 128), 1.5),
    Row("rms", MEDIUM, "decode", (128, 128, 128), 0.5),
    Row("rms", MEDIUM, "decode", (64, 320, 320), 0.7),
    Row("rms", LARGE, "encode", (64, 256, 256), 1.5),
    Row("rms", LARGE, "encode", (64, 256, 256), 0.5),
    Row("rms", LARGE, "decode", (48, 192, 192), 0.6),
    Row("layer", MEDIUM, "encode", (96, 256, 128), 1.5),
    Row("layer", MEDIUM, "encode", (96, 256, 128), 0.7),
    Row("layer", MEDIUM, "decode", (96, 128, 128), 1.5),
    Row("layer", LARGE, "decode", (32, 256, 256), 0.5),
    Row("group", SMALL, "encode", (192, 192, 64), 1.5),
    Row("group", MEDIUM, "encode", (128, 128, 128), 0.5),
    Row("group", MEDIUM, "decode", (128, 128, 96), 1.5),
    Row("group", MEDIUM, "decode", (128, 128, 96), 0.6),
    Row("group", LARGE, "encode", (48, 256, 256), 0.4),
    Row("group", MEDIUM, "encode", (96, 96, 64), 0.8, attention=True),
)


def resident(field: str) -> int:
    """Return ``VmRSS`` or ``VmHWM`` of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def given(half: str, sides: tuple[int, ...]) -> torch.Tensor:
    """Return noise in place of an image or a latent."""
    if half == "encode":
        return torch.rand(1, 1, *sides)
    return torch.randn(1, 4, *(n // FACTOR for n in sides))


def run(plan: ExecutionPlan, x: torch.Tensor) -> None:
    """Run a plan; the result of a decoder is kept as int16, as by ``ct-vae decode``."""
    if plan.half == "encode":
        plan(x)
        return
    result = torch.empty(tuple(FACTOR * n for n in x.shape[2:]), dtype=torch.int16)

    def sink(start: int, slab: torch.Tensor) -> None:
        result[start : start + slab.shape[2]] = (1000 * slab[0, 0]).round()

    plan.run(x, sink)


def measure(row: Row, max_memory_gb: float | None) -> dict[str, float]:
    """Run a row in this process; return planned and used memory."""
    width = {"down_channels": row.widths, "num_res_blocks": 2, "norm": row.norm}
    network = VolumeAdapter(AutoencoderKL(**width, mid_attn=row.attention).eval())
    whole = 2 * row.sides[0] * row.sides[1] * row.sides[2] if row.half == "decode" else None
    small = (WARM_SIDE,) * 3
    run(plan_execution(network, row.half, Tiling(), small), given(row.half, small))
    x = given(row.half, row.sides)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    limit = max_memory_gb
    if row.share is not None:
        free = plan_execution(network, row.half, Tiling(), row.sides, 0, whole)
        limit = (before / MIB + row.share * (free.record.estimate_mb or 0)) / 1024
    plan = plan_execution(network, row.half, Tiling(max_memory_gb=limit), row.sides, 0, whole)
    started = time.perf_counter()
    run(plan, x)
    used, planned = (resident("VmHWM") - before) / MIB, plan.record.estimate_mb or 0
    return {
        "planned_mb": planned,
        "used_mb": used,
        "ratio": used / planned,
        "cuts": len(plan.stream_plan.cuts) if plan.stream_plan else 0,
        "disk_mb": plan.stream_plan.disk_bytes / MIB if plan.stream_plan else 0,
        "seconds": time.perf_counter() - started,
        "peak_of_process_gb": resident("VmHWM") / 2**30,
    }


def spawn(row: Row, max_memory_gb: float | None = None) -> dict[str, Any]:
    """Measure a row in a process of its own."""
    task = json.dumps({"row": asdict(row), "max_memory_gb": max_memory_gb})
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, __file__, "--worker", task]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def show(row: Row, found: dict[str, Any]) -> None:
    """Print a row."""
    model = f"{row.norm} {'/'.join(map(str, row.widths))}{' attention' * row.attention}"
    sides, share = "x".join(map(str, row.sides)), "-" if row.share is None else row.share
    print(
        f"{model:24s}{row.half:8s}{sides:13s}{share!s:>5s}{found['planned_mb']:8.0f}"
        f"{found['used_mb']:8.0f}{found['ratio']:7.2f}{found['cuts']:5d}{found['disk_mb']:8.0f}"
        f"{found['seconds']:8.1f}",
        flush=True,
    )


def main() -> None:
    """Measure the table, one model, or one row as a worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs=2, default=(0, len(TABLE)))
    parser.add_argument("--model", nargs="+", metavar="NORM WIDTH")
    parser.add_argument("--half", choices=("encode", "decode"), default="encode")
    parser.add_argument("--sides", type=int, nargs=3, default=(256, 256, 256))
    parser.add_argument("--max-memory-gb", type=float)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.worker:
        task = json.loads(options.worker)
        row = Row(**{k: tuple(v) if isinstance(v, list) else v for k, v in task["row"].items()})
        with torch.inference_mode():
            print(json.dumps(measure(row, task["max_memory_gb"])))
        return
    rows = TABLE[slice(*options.rows)]
    if options.model:
        norm, *widths = options.model
        rows = (Row(norm, tuple(map(int, widths)), options.half, tuple(options.sides)),)
    print(f"{'model':24s}{'half':8s}{'sides':13s}share planned    used  ratio cuts disk MB seconds")
    found = []
    for row in rows:
        found.append(asdict(row) | spawn(row, options.max_memory_gb))
        show(row, found[-1])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
