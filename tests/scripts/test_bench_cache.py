"""`scripts/bench_cache.py` at a small size."""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch


@pytest.fixture
def bench_cache(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    threads = torch.get_num_threads()
    yield import_module("bench_cache")
    torch.set_num_threads(threads)


def test_patches_from_both_layouts_and_the_loader_are_measured(tmp_path, capsys, bench_cache):
    sizes = ("--shape", "72", "70", "66", "--volumes", "1", "--patches", "2")
    places = ("--folder", str(tmp_path), "--json", str(tmp_path / "figures.json"))
    bench_cache.main([*sizes, *places])
    assert "cold_patches_per_second" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert int(figures["conditions"]["read_ahead_kb"]) >= 0
    for layout in ("arrays, mapped", "bricks"):
        assert figures[layout]["cold_ms_per_patch"] > 0
        assert figures[layout]["warm_ms_per_patch"] > 0
    rates = [figures[name]["patches_per_second"] for name in figures if name.startswith("loader")]
    assert len(rates) == 4
    assert min(rates) > 0
