"""Several processes share a list of cases, and a signal ends one between two of them."""

import os
import signal
import subprocess
import sys

import pytest

from ct_vae.inference.codec import Codec
from ct_vae.io import read_latent, write_volume
from tests._asserts import assert_only_files
from tests._small import ct_volume
from tests.cli._run import call

NAMES = [f"c{i}" for i in range(4)]


@pytest.fixture
def inputs(tmp_path):
    for seed, name in enumerate(NAMES):
        write_volume(ct_volume(seed=seed), tmp_path / "in" / f"{name}.nii")
    return tmp_path / "in"


def latents(names):
    return {f"{name}_latent{end}" for name in names for end in (".nii.gz", ".json")}


def test_shards_together_do_every_case_once(model_folder, inputs, tmp_path):
    out = tmp_path / "out"
    code, text = call("encode", model_folder, inputs, "-o", out, "--shard", "0/3")
    assert (code, "shard 0/3: 2 of 4 cases" in text) == (0, True)
    assert_only_files(out, latents(["c0", "c3"]))
    for i in (1, 2):
        text = call("encode", model_folder, inputs, "-o", out, "--shard", f"{i}/3")[1]
        assert "done already" not in text
    assert_only_files(out, latents(NAMES))
    call("decode", model_folder, out, "-o", tmp_path / "back", "--shard", "1/2")
    assert_only_files(tmp_path / "back", {"c1_decoded.nii.gz", "c3_decoded.nii.gz"})
    call("reconstruct", model_folder, inputs, "-o", tmp_path / "both", "--shard", "5/6")
    assert not (tmp_path / "both").exists()


def test_ranks_and_job_arrays_are_shards(model_folder, inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert call("encode", model_folder, inputs, "-o", tmp_path, "--device", "cpu")[0] == 0
    assert (tmp_path / "c1_latent.nii.gz").exists()
    assert not (tmp_path / "c0_latent.nii.gz").exists()


def test_names_are_checked_over_all_shards(model_folder, inputs, tmp_path):
    write_volume(ct_volume(), inputs / "c1_latent.nii.gz")
    for shard in ("0/5", "4/5"):
        code, text = call("encode", model_folder, inputs, "-o", inputs, "--shard", shard)
        assert (code, "an input has this name" in text) == (2, True)


def test_shards_list_their_failures_apart(model_folder, inputs, tmp_path):
    for name in ("c0", "c1"):
        (inputs / f"{name}.nii").write_bytes(b"")
    out = tmp_path / "out"
    for i in range(2):
        assert call("encode", model_folder, inputs, "-o", out, "--shard", f"{i}/2")[0] == 8
    lists = {f"failures_{i}_of_2.jsonl" for i in range(2)}
    assert_only_files(out, latents(["c2", "c3"]) | lists)


def test_a_signal_finishes_the_case_and_the_next_run_does_the_others(
    model_folder, inputs, tmp_path, monkeypatch
):
    real, out = Codec.encode, tmp_path / "out"

    def encode(*args, **wishes):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **wishes)

    monkeypatch.setattr(Codec, "encode", encode)
    code, text = call("encode", model_folder, inputs, "-o", out)
    assert (code, "stopped by SIGTERM after 1 of 4 cases" in text) == (75, True)
    assert_only_files(out, latents(["c0"]))
    monkeypatch.setattr(Codec, "encode", real)
    code, text = call("encode", model_folder, inputs, "-o", out)
    assert (code, text.count("done already")) == (0, 1)
    assert_only_files(out, latents(NAMES))


def test_two_processes_at_one_list_write_each_latent_once(model_folder, inputs, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ct_vae", "encode", model_folder, inputs, "-o", out]
    pair = [
        subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=300)[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], told
    # A line with seconds tells of a latent that was written.
    written = [line.split()[1] for text in told for line in text.splitlines() if " s)" in line]
    assert sorted(written) == [str(out / f"{name}_latent.nii.gz") for name in NAMES]
    assert_only_files(out, latents(NAMES))
    for name in NAMES:
        read_latent(out / f"{name}_latent.nii.gz")
