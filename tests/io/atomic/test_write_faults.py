"""Whatever breaks while something is written, what has a final name is whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ct_vae.errors import InputError, OutputError
from ct_vae.io import read_latent, read_volume, write_latent, write_volume
from ct_vae.io.atomic.file import write_json, write_text
from tests._asserts import assert_only_files
from tests.io._samples import CODES, Disk, ct_volume, latent_of

WRITERS = {
    "a.nii.gz": lambda path, seed: write_volume(ct_volume(seed=seed), path),
    "a.nii": lambda path, seed: write_volume(ct_volume(seed=seed), path),
    "a.mha": lambda path, seed: write_volume(ct_volume(seed=seed), path),
    "a.nrrd": lambda path, seed: write_volume(ct_volume(seed=seed), path),
    "a_latent.nii.gz": lambda path, seed: write_latent(latent_of(seed=seed), path),
    "b_latent.nii": lambda path, seed: write_latent(latent_of(seed=seed), path, "float32"),
    "b_latent.latz": lambda path, seed: write_latent(latent_of(seed=seed), path),
    "c.txt": lambda path, seed: write_text(path, str(seed) * 1000),
    "d.json": lambda path, seed: write_json(path, {"seed": [seed] * 200}),
}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.mark.parametrize("name", WRITERS)
def test_a_fault_at_any_operation_leaves_old_or_new_and_no_temporary_file(tmp_path, disk, name):
    write = WRITERS[name]
    path = tmp_path / name
    write(path, 1)
    old, before = files(tmp_path), dict(disk.counts)
    write(path, 2)
    new, counts = files(tmp_path), {op: n - before[op] for op, n in disk.counts.items()}
    assert counts["write"] >= 3
    for operation, number in [(op, n) for op, count in counts.items() for n in range(1, count + 1)]:
        for code in CODES:
            disk.heal()
            write(path, 1)
            disk.fail_at(operation, number, code)
            with pytest.raises(OutputError, match=name.split(".")[0]):
                write(path, 2)
            found = files(tmp_path)
            assert found.keys() == old.keys()
            expected = [new if disk.replaced > k else old for k in range(len(old))]
            order = sorted(found, key=lambda n: n.endswith(".json"))
            for state, each in zip(expected, order, strict=True):
                assert found[each] == state[each]


def test_a_latent_torn_between_its_two_renames_is_refused(tmp_path, disk):
    path = tmp_path / "x_latent.nii.gz"
    write_latent(latent_of(seed=1), path)
    disk.fail_at("replace", 2, CODES[0])
    with pytest.raises(OutputError):
        write_latent(latent_of(seed=2), path)
    with pytest.raises(InputError, match="does not belong to its record"):
        read_latent(path)


def test_a_first_write_that_fails_leaves_nothing(tmp_path, disk):
    for name, write in WRITERS.items():
        disk.fail_at("fsync", 1, CODES[0])
        with pytest.raises(OutputError):
            write(tmp_path / name, 1)
    assert_only_files(tmp_path, set())


def test_a_real_limit_on_file_size_is_an_output_error(tmp_path):
    script = (
        "import resource, signal, sys\n"
        "from tests.io._samples import ct_volume\n"
        "from ct_vae.io import write_volume\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "write_volume(ct_volume(), sys.argv[1])\n"
    )
    done = run(script, tmp_path / "a.nii")
    assert "OutputError" in done.stderr
    assert_only_files(tmp_path, set())


@pytest.mark.parametrize("moment", ["os.write", "os.fsync", "os.replace"])
def test_kill_leaves_the_old_file_and_the_next_write_cleans_up(tmp_path, moment):
    path = tmp_path / "a.nii.gz"
    write_volume(ct_volume(seed=1), path)
    old = path.read_bytes()
    script = (
        "import os, sys\n"
        "from tests.io._samples import ct_volume\n"
        "from ct_vae.io import write_volume\n"
        f"{moment} = lambda *args: os.kill(os.getpid(), 9)\n"
        "write_volume(ct_volume(seed=2), sys.argv[1])\n"
    )
    assert run(script, path).returncode == -signal.SIGKILL
    assert path.read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 2
    write_volume(ct_volume(seed=2), path)
    assert_only_files(tmp_path, {"a.nii.gz"})
    np.testing.assert_array_equal(read_volume(path).voxels, ct_volume(seed=2).voxels)


def run(script, path):
    return subprocess.run(
        [sys.executable, "-c", script, os.fspath(path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
