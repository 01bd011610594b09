"""Tests and measurements on one GPU within a limited time, each written as soon as it is known.

Usage: python scripts/gpu/check.py [--device cuda:0] [--toy] [--minutes N] [--json FILE]

`scripts/gpu_check.sh` starts it. A row that takes too long or ends its process is noted, and the
next one begins in a new process, so that a cut run keeps all rows before.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from measuring import Setting
from rows import rows_of
from workers import Report, measure_rows

_REPOSITORY = Path(__file__).parents[2]
_TESTS_S = 150.0


def run_tests(device: str, limit: float) -> dict[str, Any]:
    """Run the tests for GPUs and return their counts and the end of their output."""
    environment = os.environ | {"CT_VAE_TEST_GPU": device}
    # Other versions of libraries may warn, which does not matter here.
    options = ["-m", "gpu", "-q", "-rfEs", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    command = [sys.executable, "-m", "pytest", *options, str(_REPOSITORY / "tests" / "gpu")]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=_REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        found: dict[str, Any] = {"status": done.returncode}
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        found = {"status": None, "failed": f"took more than {limit:.0f} s"}
    for count, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", output):
        found[kind] = int(count)
    return found | {"seconds": time.monotonic() - started, "output": output[-6000:]}


def conditions(device: torch.device) -> dict[str, Any]:
    """Return versions and the name of the device."""
    found: dict[str, Any] = {
        "device": str(device),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cores": os.cpu_count(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"name": properties.name, "memory_gb": properties.total_memory / 2**30}
    return found


def main() -> None:
    """Run the tests and measure all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0", help="cuda:0 by default")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to try the program")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything; 8 by default")
    parser.add_argument("--no-tests", action="store_true", help="measure only")
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"), metavar="FILE")
    options = parser.parse_args()
    began = time.monotonic()
    deadline = began + 60 * options.minutes
    device = torch.device(options.device)
    report = Report(options.json)
    report.add(conditions=conditions(device), toy=options.toy, minutes=options.minutes)
    if not options.no_tests:
        tests = run_tests(options.device, min(_TESTS_S, 60 * options.minutes / 3))
        report.add(tests=tests)
        print(tests["output"][-2000:], flush=True)
    limits = {name: limit for name, (limit, _) in rows_of(Setting(device, options.toy)).items()}
    command = [sys.executable, str(Path(__file__).with_name("rows.py")), "--device", options.device]
    measure_rows([*command, *(["--toy"] if options.toy else [])], limits, deadline, report)
    report.add(seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
