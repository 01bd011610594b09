"""Row 36 of the list of faults, and other work that several processes do at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ct_vae.errors import ConfigError
from ct_vae.io import read_latent, write_volume
from ct_vae.training import train
from tests._small import ct_volume
from tests.faults._doors import left_in
from tests.training.test_trainer import config, patches

ROOT = Path(__file__).parents[2]


def started(*args):
    return subprocess.Popen(
        [sys.executable, "-m", "ct_vae", *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("shards", [(), ("0/2", "1/2", "0/2")], ids=["one list", "shards"])
def test_36_processes_that_encode_the_same_list_do_each_case_once(model_folder, tmp_path, shards):
    for k in range(12):
        write_volume(ct_volume(seed=k), tmp_path / "in" / f"{k}.nii.gz")
    parts = [("--shard", shard) for shard in shards] or [(), ()]
    command = ("encode", model_folder, tmp_path / "in", "-o", tmp_path / "out")
    processes = [started(*command, *part) for part in parts]
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(parts), told
    expected = {f"{k}_latent{end}" for k in range(12) for end in (".nii.gz", ".json")}
    assert left_in(tmp_path / "out") == expected
    for k in range(12):
        read_latent(tmp_path / "out" / f"{k}_latent.nii.gz")
        (encoded,) = [
            text for text in told for line in text.splitlines()
            if f"{k}_latent.nii.gz (" in line and f"/{k}_latent" in line
        ]  # fmt: skip
        assert encoded


def test_36_a_second_run_in_a_folder_is_refused_with_the_name_of_the_first(tmp_path):
    holder = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys; from pathlib import Path\n"
            "from ct_vae.training.checkpoints.lock import run_lock\n"
            "with run_lock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()",
            str(tmp_path / "run"),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        before = left_in(tmp_path / "run")
        with pytest.raises(ConfigError, match=f"process {holder.pid} on"):
            train(patches(), config(tmp_path / "run"))
        assert left_in(tmp_path / "run") == before
    finally:
        holder.kill()
        holder.communicate()
    # Who was killed holds nothing.
    assert train(patches(), config(tmp_path / "run")) == tmp_path / "run"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["samples_seen"] == 8
