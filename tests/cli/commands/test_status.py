"""A batch in shards, of which some are killed: status tells the truth, and a list mends it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ct_vae.find_volumes.case_list import read_case_list, write_case_list
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.grid import Grid
from ct_vae.io import write_volume
from ct_vae.volume import Volume
from tests.cli._run import call

_CASES, _SHARDS = 40, 4


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Tiny volumes in two folders, one of them damaged."""
    folder = tmp_path_factory.mktemp("archive")
    grid = Grid((8, 8, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
    for n in range(_CASES):
        voxels = np.random.default_rng(n).integers(-1000, 1000, grid.shape).astype(np.int16)
        write_volume(Volume(voxels, grid), folder / f"site_{n % 2}" / f"case_{n:02}.nii.gz")
    damaged = folder / "site_1" / "case_07.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    return folder


def state(output, archive, *more):
    code, text = call("status", output, "--inputs", archive, "--json", "--quiet", *more)
    return code, json.loads(text)


def start(model, archive, output, shard):
    words = ["encode", model, archive, "-o", output, "--device", "cpu", "--shard", "env/4"]
    return subprocess.Popen(
        [sys.executable, "-m", "ct_vae", *map(str, words)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "JOB_COMPLETION_INDEX": str(shard)},
    )


@pytest.mark.slow
def test_after_kills_status_tells_the_truth_and_the_list_mends_it(model_folder, archive, tmp_path):
    output, retry = tmp_path / "latents", tmp_path / "retry.jsonl"
    assert state(output, archive)[1]["left"] == [c.key for c in discover([archive])]
    shards = [start(model_folder, archive, output, shard) for shard in range(_SHARDS)]
    # Two shards are killed as soon as there are results, at whatever they do then.
    deadline = time.monotonic() + 200
    while len(list(output.rglob("*_latent.nii.gz"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    for shard in shards[:2]:
        shard.send_signal(signal.SIGKILL)
    assert [s.wait() for s in shards[:2]].count(-signal.SIGKILL) >= 1
    for shard in shards[2:]:
        shard.wait()
    code, found = state(output, archive, "--retry", retry)
    keys = [*found["done"], *found["failed"], *found["left"]]
    assert code == 8
    assert sorted(keys) == sorted(c.key for c in discover([archive]))
    assert found["running"] == []
    assert set(found["failed"]) <= {"site_1/case_07"}
    assert {json.loads(x)["key"] for x in retry.read_text().splitlines()} == {
        *found["failed"],
        *found["left"],
    }
    call("encode", model_folder, "--from", retry, "-o", output, "--quiet")
    code, found = state(output, archive)
    assert (code, found["left"], list(found["failed"])) == (8, [], ["site_1/case_07"])
    assert len(found["done"]) == _CASES - 1
    told = call("status", output, "--inputs", archive)[1]
    assert told.splitlines()[0] == "39 done, 1 failed of 40 cases"
    assert "case_07" in told.splitlines()[1]


def test_a_batch_without_failures_ends_with_0(model_folder, archive, tmp_path):
    source = archive / "site_0" / "case_00.nii.gz"
    output = tmp_path / "latents"
    assert call("status", output, "--inputs", source)[0] == 8
    assert call("encode", model_folder, source, "-o", output)[0] == 0
    assert call("status", output, "--inputs", source) == (0, "1 done of 1 cases\n")
    latent = output / "case_00_latent.nii.gz"
    latent.write_bytes(latent.read_bytes()[:-1])
    assert call("status", output, "--inputs", source)[0] == 8


def test_a_list_keeps_names_of_outputs_and_takes_plain_paths(archive, tmp_path):
    path = tmp_path / "list"
    cases = [case for case in discover([archive]) if case.key != "site_0/case_02"]
    write_case_list(path, cases)
    assert list(read_case_list(path)) == cases
    plain = archive / "site_0" / "case_02.nii.gz"
    path.write_text(f"# by hand\n\n{plain}\n" + path.read_text())
    assert {case.key for case in read_case_list(path)} == {*(c.key for c in cases), "case_02"}


def test_a_list_and_inputs_exclude_each_other(model_folder, archive, tmp_path):
    write_case_list(tmp_path / "list", [Case(archive, "a")])
    words = ["encode", model_folder, archive, "--from", tmp_path / "list", "-o", tmp_path / "out"]
    assert call(*words)[0] == 2


def test_without_inputs_the_options_that_give_them_are_named(tmp_path):
    code, text = call("status", tmp_path)
    assert code == 3
    assert "by --inputs, or a list by --from" in text
