import os

import pytest
import torch

from ct_vae.config.run import RunConfig
from ct_vae.training.data import workers
from ct_vae.training.data.workers import available_cpus, with_workers
from ct_vae.training.distributed import DistributedContext

GPU = torch.device("cuda")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets the CPUs of the affinity, the control groups of the process and their files."""

    def set_up(cpus, groups="0::/", files=()):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)), raising=False)
        own = tmp_path / "own"
        own.write_text(groups)
        for name, text in dict(files).items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(workers, "_OWN_GROUP", own)
        monkeypatch.setattr(workers, "_GROUPS", tmp_path / "groups")

    return set_up


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {}, 12),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 12),
        ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 12),
        ("0::/job/step\n", {"job/cpu.max": "400000 100000\n", "job/step/cpu.max": "max 1\n"}, 4),
        ("0::/job\n", {"cpu.max": "500000 100000", "job/cpu.max": "700000 100000"}, 5),
        ("0::/job\n", {"job/cpu.max": "not a number"}, 12),
        (
            "5:memory:/job\n4:cpu,cpuacct:/job\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "600000\n",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
                "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            6,
        ),
    ],
)
def test_cpus_are_those_of_the_affinity_within_the_limits_of_all_groups(
    machine, groups, files, expected
):
    machine(12, groups, files)
    assert available_cpus() == expected


def test_without_affinity_and_groups_all_cpus_count(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(workers, "_OWN_GROUP", tmp_path / "missing")
    assert available_cpus() == 7


@pytest.mark.parametrize(
    ("cpus", "ranks", "expected"), [(1, 1, 0), (8, 1, 7), (16, 8, 1), (4, 8, 0), (256, 2, 16)]
)
def test_ranks_on_gpus_share_the_cpus_of_their_machine(machine, monkeypatch, cpus, ranks, expected):
    machine(cpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    world = DistributedContext(0, 2 * ranks, GPU)
    assert with_workers(RunConfig(), world, numbered=True).training.workers == expected


def test_without_a_gpu_or_with_own_data_sets_there_are_none(machine):
    machine(16)
    gpu, cpu = DistributedContext(device=GPU), DistributedContext()
    assert with_workers(RunConfig(), gpu, numbered=True).training.workers == 15
    assert with_workers(RunConfig(), gpu, numbered=False).training.workers == 0
    assert with_workers(RunConfig(), cpu, numbered=True).training.workers == 0
    places = [(gpu, True, True), (gpu, False, False), (cpu, True, False)]
    for world, numbered, expected in places:
        found = with_workers(RunConfig(), world, numbered)
        assert found.training.augment_on_device is expected


@pytest.mark.parametrize("count", [0, 3])
def test_a_given_number_is_kept(machine, count):
    machine(16)
    given = {"workers": count, "augment_on_device": False}
    config = RunConfig.model_validate({"training": given})
    assert with_workers(config, DistributedContext(device=GPU), numbered=True) is config
    only = RunConfig.model_validate({"training": {"workers": count}})
    found = with_workers(only, DistributedContext(device=GPU), numbered=True).training
    assert (found.workers, found.augment_on_device) == (count, True)
