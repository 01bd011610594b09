"""The check of a GPU: tried on the CPU, cut short, and with PyTorch's GPU functions replaced."""

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

from ct_vae.inference import device
from ct_vae.training import build as training_build

MODULES = ("check", "inference_rows", "measuring", "rows", "table", "training_rows", "workers")
# Prints rows; one takes forever, one ends the process, as a broken GPU does.
WORKER = """
import json, sys, time
say = lambda **row: print("ROW " + json.dumps(row), flush=True)
print("a library says hello")
say(ready=True)
for name in sys.argv[1:]:
    if name == "slow":
        time.sleep(60)
    if name == "broken":
        sys.exit(9)
    say(row=name, seconds=0.5)
    if name == "last words":
        sys.exit(3)
"""


@pytest.fixture
def module(repository, monkeypatch):
    """Imports a module of scripts/gpu, whose names are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(repository / "scripts" / "gpu"))
    yield __import__
    for name in MODULES:
        sys.modules.pop(name, None)


def check(repository, *words, **environment):
    return subprocess.run(
        ["bash", str(repository / "scripts" / "gpu_check.sh"), *map(str, words)],
        env=os.environ | {"PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_everything_runs_on_the_cpu_at_tiny_sizes(repository, tmp_path, module):
    path = tmp_path / "found.json"
    done = check(repository, "--device", "cpu", "--toy", "--json", path)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert report["tests"]["passed"] > 50
    assert report["tests"]["status"] == 0, report["tests"]["output"]
    assert [row["row"] for row in report["rows"] if "failed" in row] == []
    setting = module("measuring").Setting(torch.device("cpu"), True)
    assert [row["row"] for row in report["rows"]] == list(module("rows").rows_of(setting))
    table = module("table").text_of(report)
    assert "| decode, exact fp32 within 1 GiB |" in table
    assert "| ct_vae, 1 patches of 32^3 |" in table
    assert "Not measured" not in table
    exact = [row for row in report["rows"] if "within" in row["row"] and "error" in row]
    assert len(exact) == 2
    assert all(row["error"] < 1e-5 for row in exact)


def report_of(module, tmp_path, names, seconds=30.0, limit=2.0):
    workers = module("workers")
    report = workers.Report(tmp_path / "report.json")
    command = [sys.executable, "-c", WORKER]
    limits = dict.fromkeys(names, limit)
    workers.measure_rows(command, limits, time.monotonic() + seconds, report)
    return json.loads((tmp_path / "report.json").read_text())["rows"]


def test_a_row_that_takes_too_long_or_breaks_does_not_cost_the_others(module, tmp_path):
    names = ["a", "slow", "b", "broken", "c", "last words", "d"]
    rows = report_of(module, tmp_path, names)
    assert [row["row"] for row in rows] == names
    failed = {row["row"]: row["failed"] for row in rows if "failed" in row}
    assert failed == {
        "slow": "took more than 2 s",
        "broken": "the process ended with status 9",
    }


def test_rows_before_the_end_of_the_time_are_kept(module, tmp_path, monkeypatch):
    monkeypatch.setattr(module("workers"), "_LEAST_S", 1.0)
    rows = report_of(module, tmp_path, ["a", "slow", "b", "c"], seconds=4.0, limit=60.0)
    assert [("failed" in row) for row in rows] == [False, True, True, True]
    assert rows[-1]["failed"] == "not begun: the time was over"


def test_a_process_that_cannot_start_is_tried_for_each_row(module, tmp_path):
    workers = module("workers")
    report = workers.Report(tmp_path / "report.json")
    command = [sys.executable, "-c", "import sys; sys.exit(5)"]
    workers.measure_rows(command, {"a": 1.0, "b": 1.0}, time.monotonic() + 30, report)
    assert [row["failed"] for row in report.content["rows"]] == [
        "at the start: the process ended with status 5"
    ] * 2


def test_time_and_memory_of_a_gpu(module, monkeypatch):
    """PyTorch's functions are replaced: the order of calls, and the units of the results."""
    calls = []

    def record(name, value=None):
        def call(*arguments):
            calls.append(name)
            return value

        monkeypatch.setattr(torch.cuda, name, call)

    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        record(name)
    record("memory_allocated", 3 * 2**20)
    record("max_memory_allocated", 5 * 2**20)
    record("max_memory_reserved", 7 * 2**20)
    device, result = torch.device("cuda"), torch.ones(2)
    found, figures = module("measuring").measured(device, lambda: calls.append("run") or result)
    assert found is result
    assert figures.pop("seconds") < 1 > figures.pop("first_seconds")
    assert figures == {
        "held_before_mb": 3.0,
        "repeated": True,
        "peak_mb": 5.0,
        "reserved_mb": 7.0,
    }
    assert calls == [
        *("synchronize", "empty_cache", "reset_peak_memory_stats", "memory_allocated"),
        *("synchronize", "run", "synchronize") * 2,
        *("max_memory_allocated", "max_memory_reserved"),
    ]


def test_long_runs_are_not_repeated(module, monkeypatch):
    measuring = module("measuring")
    monkeypatch.setattr(measuring, "_LONG_S", 0.0)
    runs = []
    figures = measuring.measured(torch.device("cpu"), lambda: runs.append(1) or torch.ones(1))[1]
    assert len(runs) == 1
    assert figures["seconds"] == figures["first_seconds"]


def test_errors_are_those_of_the_whole(module):
    a, b = torch.randn(2, 1, 3, 40, 4, 4)
    expected = float((a - b).double().norm() / b.double().norm())
    found = module("measuring").relative_error(a, b, torch.device("cpu"))
    assert found == pytest.approx(expected)


def test_rows_before_the_reference_get_their_errors_from_its_row(module, monkeypatch):
    # The limit of the row is for a process of its own, not for one that has run other tests.
    monkeypatch.setattr(device, "resident_bytes", lambda: 2**29)
    setting = module("measuring").Setting(torch.device("cpu"), True)
    bench, names = module("inference_rows").Bench(setting), module("rows").rows_of(setting)
    assert "error" not in bench.windows("decode", "fp32")
    assert "error" not in bench.exact("decode", "fp32", 1.0)
    errors = bench.exact("decode", "fp32")["errors"]
    limited, windows = "decode, exact fp32 within 1 GiB", "decode, MONAI windows fp32"
    assert set(errors) == {limited, windows} <= set(names)
    assert errors[limited] < 1e-5 < errors[windows]
    assert not bench.kept


def test_steps_whose_numbers_stay_on_the_device_are_read_at_the_end(
    repository, module, monkeypatch
):
    """Optimizers are fused, as on a GPU."""
    rows = module("training_rows")
    build = training_build.build_optimizer
    monkeypatch.setattr(
        training_build, "build_optimizer", lambda groups, config, _: build(groups, config, True)
    )
    setting = module("measuring").Setting(torch.device("cpu"), True)
    figures = rows.large_default_model(setting, repository / "configs" / "ct_f4_large.json")
    assert 0 < figures["last_loss"] < 100


def test_what_ends_in_an_error_is_told(module):
    measure = module("rows").measure

    def fail(error):
        raise error

    memory = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
    assert measure(lambda: fail(memory)) == (
        {"failed": "out of memory: CUDA out of memory. Tried to allocate"},
        True,
    )
    assert measure(lambda: fail(ValueError("no")))[1]
    assert not measure(lambda: fail(RuntimeError("CUDA error: an illegal access")))[1]


def test_wheels_are_installed_for_the_run_only(repository, tmp_path):
    """The wheel has a module that Python imports at its start, which leaves a file."""
    name, mark = "mark-1.0", tmp_path / "mark"
    with zipfile.ZipFile(tmp_path / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("sitecustomize.py", f"open({str(mark)!r}, 'w').write(__file__)")
        metadata = {
            "METADATA": "Metadata-Version: 2.1\nName: mark\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        for file, text in metadata.items():
            wheel.writestr(f"{name}.dist-info/{file}", text)
    done = check(repository, "--wheels", tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "--minutes" in done.stdout
    assert not Path(mark.read_text()).exists()
