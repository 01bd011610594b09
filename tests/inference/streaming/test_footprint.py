"""Memory that processes use, compared with the plan: some rows of `scripts/bench_memory.py`."""

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests._forked import begin, finish

SCRIPT = Path(__file__).parents[3] / "scripts" / "bench_memory.py"
# Of volumes that need 100 MB or more: the plan holds some 20 MB in reserve, whatever the size.
ROWS = {
    "rms": ("rms", (8, 16, 32), "encode", (128, 160, 128), 1.5),
    "rms within less": ("rms", (16, 32, 64), "decode", (64, 128, 128), 0.6),
    "layer within less": ("layer", (16, 32, 64), "encode", (64, 192, 160), 0.7),
    "group within less": ("group", (16, 32, 64), "decode", (64, 128, 96), 0.6),
}


def measure(row, told):
    """Write the plan and what the process used."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("bench_memory", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    sys.modules["bench_memory"] = script
    spec.loader.exec_module(script)
    with torch.inference_mode():
        found = script.measure(script.Row(*row), None)
    told.write_text(f"{found['ratio']} {found['cuts'] + found['disk_mb']}")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
@pytest.mark.parametrize("name", ROWS)
def test_a_process_uses_what_was_planned(name, tmp_path):
    finish(begin(measure, ROWS[name], tmp_path / "told"))
    ratio, divided = map(float, (tmp_path / "told").read_text().split())
    assert 0.8 <= ratio <= 1.05
    assert (divided > 0) == ("less" in name)
