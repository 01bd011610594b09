import json
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from ct_vae.datasets.sources.case import FileCase
from ct_vae.io import write_volume
from ct_vae.losses import adversarial
from tests._forked import Program
from tests._small import ct_volume
from tests.cli._run import call
from tests.training.test_trainer import config, metrics


def run_file(folder, **changes):
    tree = config(folder / "run", **changes).as_json()
    for name, seed in (("train", 0), ("val", 1)):
        file = folder / f"{name}.nii.gz"
        write_volume(ct_volume((20, 18, 16), seed=seed), file)
        tree["data"][name] = [str(file)]
    path = folder / "tiny.json"
    path.write_text(json.dumps(tree))
    return path


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path):
    path = run_file(
        tmp_path, adversarial_weight=0.1, adversarial_start_samples=4, discriminator_levels=2
    )
    code, output = call("train", path, "--dry-run", "--device", "cpu")
    assert code == 0
    for word in ("parameters", "discriminator", "1 for training, 1 for validation", "s per step"):
        assert word in output
    assert not (tmp_path / "run").exists()


def test_a_dry_run_measures_a_step_with_the_r1_penalty(tmp_path, monkeypatch):
    penalties = []

    def penalty(_, target):
        penalties.append(target.new_zeros(()))
        return penalties[-1]

    monkeypatch.setattr(adversarial, "r1_penalty", penalty)
    changes = {"adversarial_weight": 0.1, "adversarial_start_samples": 0, "r1_weight": 1.0}
    path = run_file(tmp_path, **changes, r1_every=16, discriminator_levels=2)
    sizes = ("--set", "training.samples=100", "--set", "training.batch_size=2")
    assert call("train", path, "--dry-run", "--device", "cpu", *sizes)[0] == 0
    assert len(penalties) == 1


def test_a_dry_run_tells_everything_that_is_wrong_with_the_data(tmp_path):
    path = run_file(tmp_path)
    tree = json.loads(path.read_text())
    for name in "ab":
        write_volume(ct_volume((20, 18, 6)), tmp_path / f"{name}.nii.gz")
    table = tmp_path / "cases.csv"
    rows = ("a.nii.gz,train,p1", "b.nii.gz,val,p1", "c.nii.gz,other,p2", "d.nii.gz,train,p3")
    table.write_text("\n".join(("image,split,patient", *rows)))
    path.write_text(json.dumps({**tree, "data": {"csv": str(table), "small_volumes": "refuse"}}))
    for options in (["--dry-run"], []):
        code, output = call("train", path, *options)
        assert code == 2
        # A patch of 8 does not fit into 6 slices.
        told = ("patch_size", "patient 'p1' is in training", "'other'", "d.nii.gz is missing")
        for word in told:
            assert word in output, word
    assert not (tmp_path / "run" / "model.safetensors").exists()


def refused_alike(path, *options):
    """What the run and its rehearsal say, which is the same."""
    (code, said), (dry_code, dry_said) = (
        call("train", path, *options, *more) for more in ((), ("--dry-run",))
    )
    assert (dry_code, dry_said.splitlines()[-1]) == (code, said.splitlines()[-1])
    return code, said


@pytest.mark.parametrize("side", ["train", "val"])
@pytest.mark.parametrize("cached", [False, True])
def test_a_dry_run_finds_masks_among_volumes(tmp_path, side, cached):
    path = run_file(tmp_path)
    mask = ct_volume((20, 18, 16))
    mask = replace(mask, voxels=(mask.voxels > 0).astype(np.int16))
    write_volume(mask, tmp_path / "mask.nii.gz")
    tree = json.loads(path.read_text())
    tree["data"][side].append(str(tmp_path / "mask.nii.gz"))
    tree["data"]["cache_dir"] = str(tmp_path / "cache") if cached else None
    path.write_text(json.dumps(tree))
    code, told = call("train", path, "--dry-run")
    assert (code, "mask" in told) == (4, True)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "run").exists()
    assert refused_alike(path)[0] == 4


def test_a_dry_run_reads_no_volume_that_the_cache_holds(tmp_path, monkeypatch):
    path = run_file(tmp_path)
    options = ("--set", f"data.cache_dir={tmp_path / 'cache'}")
    assert call("train", path, *options)[0] == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")}
    read = []
    real = FileCase.load
    monkeypatch.setattr(FileCase, "load", lambda case: (read.append(case.key), real(case))[1])
    assert call("train", path, *options, "--dry-run", "--overwrite")[0] == 0
    assert read == ["val"]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")} == before


def test_a_dry_run_refuses_what_the_run_would_refuse_before_its_first_step(tmp_path):
    path = run_file(tmp_path)
    for options, words in [
        (["--set", "training.tracker=unknown"], "tracker 'unknown'"),
        (["--set", "data.val=[]", "--set", "training.patience=2"], "waits for validations"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--set", "data.train=[]", "--set", "data.val=[]", "--set", "data.fold=1"], "fold"),
    ]:
        code, told = refused_alike(path, *options)
        assert (code, words in told) == (2, True), told
    assert call("train", path)[0] == 0
    code, told = refused_alike(path)
    assert (code, "contains a run already" in told) == (2, True)
    write_volume(ct_volume((20, 18, 16), seed=5), tmp_path / "train.nii.gz")
    code, told = refused_alike(path, "--resume")
    assert (code, "1 of 1 training cases hold something else" in told) == (2, True)
    code, told = refused_alike(path, "--resume", "--set", "training.samples=2")
    assert (code, "has seen 8 already" in told) == (2, True)
    assert call("train", path, "--overwrite", "--dry-run")[0] == 0


def test_what_a_list_says_and_the_run_does_not_use_is_told(tmp_path):
    path = run_file(tmp_path)
    entries = [{"image": "train.nii.gz", "fold": 0}, {"image": "val.nii.gz", "fold": 1}]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries, "testing": []}))
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({**tree, "data": {"datalist": str(tmp_path / "list.json")}}))
    for options in (["--dry-run"], []):
        code, told = call("train", path, *options)
        assert code == 0
        assert "note: all folds (0, 1) are used for training" in told
        assert "note: there is no validation case" in told
    code, told = call("train", path, "--dry-run", "--overwrite", "--set", "data.fold=1")
    assert "1 for training, 1 for validation" in told
    assert "note: " not in told


def test_a_misspelt_key_names_its_place(tmp_path):
    path = run_file(tmp_path)
    code, output = call("train", path, "--set", "training.bacth_size=2")
    assert code == 2
    assert "training.bacth_size" in output
    assert "batch_size" in output


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    code, output = call("train", run_file(tmp_path), "--resume", "--overwrite")
    assert code == 2
    assert "give one of them" in output


def test_a_run_is_resumed_on_request_alone(tmp_path):
    path = run_file(tmp_path)
    assert call("train", path)[0] == 0
    code, output = call("train", path)
    assert code == 2
    assert "--resume" in output
    assert call("train", path, "--resume", "--set", "training.samples=12")[0] == 0
    assert metrics(tmp_path / "run")[-1]["samples_seen"] == 12


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_with_75_on_one_line(tmp_path):
    path = run_file(tmp_path, samples=1_000_000, save_every=1_000_000)
    program, deadline = Program("train", path), time.monotonic() + 120
    while "samples/s" not in program.stderr:
        assert time.monotonic() < deadline, program.stderr
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    ended = program.finish()
    assert ended.returncode == 75, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("stopped by SIGINT after")
    assert "--resume" in last
    assert list((tmp_path / "run" / "checkpoints").iterdir())
