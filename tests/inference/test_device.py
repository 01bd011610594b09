import subprocess
import sys

import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.inference import device
from ct_vae.inference.device import (
    device_of_rank,
    free_bytes,
    memory_budget,
    peak_memory_mb,
    pick_device,
    reset_peak_memory,
    resident_bytes,
)

CPU = torch.device("cpu")


def test_the_cpu_can_be_named():
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda:77", "mps:3", "gpu", "cuda:x"])
def test_devices_that_are_not_here_are_refused_and_never_replaced(name):
    with pytest.raises(ConfigError, match=name):
        pick_device(name)


def test_without_a_name_a_gpu_is_taken_if_there_is_one():
    assert pick_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_budget_is_what_is_left_of_the_bound_or_a_share_of_what_is_free(monkeypatch):
    monkeypatch.setattr(device, "free_bytes", lambda _: 1000)
    assert memory_budget(CPU, None) == 600
    monkeypatch.setattr(device, "resident_bytes", lambda: 2**30)
    assert memory_budget(CPU, 2.5) == int(1.5 * 2**30)
    assert memory_budget(CPU, 0.5) < 0


def test_what_is_held_now_is_at_most_what_was_held_at_the_peak():
    held = np.ones(2**24)
    assert held.nbytes < resident_bytes() <= 1.01 * peak_memory_mb(CPU) * 2**20


def test_free_memory_respects_the_control_group(monkeypatch):
    numbers = {"memory.max": 5000, "memory.current": 2000}
    monkeypatch.setattr(device, "_number", lambda path: numbers[path.name])
    monkeypatch.setattr(device, "_machine_free", lambda: 10_000)
    assert free_bytes(CPU) == 3000
    monkeypatch.setattr(device, "_machine_free", lambda: 1_000)
    assert free_bytes(CPU) == 1000


def test_an_unlimited_group_is_no_limit(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("123\n")
    assert device._number(tmp_path / "memory.max") is None
    assert device._number(tmp_path / "memory.current") == 123
    assert device._number(tmp_path / "absent") is None


def test_this_process_holds_memory_and_there_is_some_left():
    assert 50 < peak_memory_mb(CPU) < 100_000
    assert free_bytes(CPU) > 2**20


def test_the_peak_is_that_of_this_program_and_not_of_who_started_it():
    held = bytearray(600 * 2**20)
    held[::4096] = b"1" * len(held[::4096])
    program = (
        "import torch; from ct_vae.inference.device import peak_memory_mb;"
        "print(peak_memory_mb(torch.device('cpu')))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 20 < float(told.stdout) < 600
    assert peak_memory_mb(torch.device("cpu")) > 600
    del held


def test_a_gpu_is_named_only_to_processes_of_torchrun():
    assert device_of_rank({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == 1
    assert device_of_rank({"LOCAL_RANK": "1"}) is None
    assert device_of_rank({}) is None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such figures")
def test_what_was_freed_may_be_allocated_again():
    """Small blocks, which the C library keeps for itself."""
    before = memory_budget(CPU, 100)
    blocks = [torch.ones(2**13) for _ in range(6400)]
    assert memory_budget(CPU, 100) < before - 150 * 2**20
    del blocks
    assert memory_budget(CPU, 100) > before - 20 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure the process only")
def test_the_peak_of_a_case_is_not_that_of_an_earlier_one():
    large = torch.ones(50 * 2**20)
    del large
    reset_peak_memory(CPU)
    assert peak_memory_mb(CPU) * 2**20 < resident_bytes() + 50 * 2**20


def test_reserved_memory_of_a_gpu_is_free(monkeypatch):
    """What earlier cases left to PyTorch's allocator can be used by the next one."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 300)
    assert free_bytes(torch.device("cuda")) == 500


@pytest.mark.parametrize(
    ("limit", "held", "returned"), [(None, 10, False), (None, 40, True), (1.0, 10, True)]
)
def test_freed_memory_is_returned_where_it_matters(monkeypatch, limit, held, returned):
    """To get it back takes as long as a small volume."""
    calls = []
    monkeypatch.setattr(device, "_return_free_memory", calls.append)
    monkeypatch.setattr(device, "resident_bytes", lambda: held)
    monkeypatch.setattr(device, "free_bytes", lambda _: 100)
    memory_budget(torch.device("cpu"), limit)
    assert calls == ([limit is not None] if returned else [])
