"""`scripts/train_default.sh`: from packed data to a model folder, interrupted and gone on with."""

import json
import os
import subprocess
import sys

import pytest

from ct_vae.io import write_volume
from ct_vae.models.model_folder import load_model_folder
from tests._small import ct_volume

# The packed data unpack themselves; here they are plain files in another folder.
UNPACK = """
import shutil, sys
from pathlib import Path
for part in ("train", "val"):
    shutil.copytree(Path(__file__).parent / "packed" / part, Path(sys.argv[1]) / part)
"""
SIZES = {
    "training.samples": 12,
    "training.batch_size": 2,
    "training.patch_size": [16, 16, 16],
    "training.workers": 0,
    "training.save_every": 12,
    "training.checkpoint_every": 4,
    "training.log_every": 2,
    "training.lr_decay_samples": 4,
    "training.warmup_samples": 2,
    "training.ema_samples": 4,
    "model.down_channels": [8],
}


@pytest.fixture
def packed(tmp_path):
    folder = tmp_path / "data"
    for name in ("train/STS_001", "train/Lung_Dx-A0001_B", "val/STS_007"):
        path = folder / "packed" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(ct_volume((24, 20, 18), seed=len(name)), path)
    (folder / "unpack.py").write_text(UNPACK)
    return folder


def train(repository, work, *words, sizes=SIZES):
    overrides = [
        word for key, value in sizes.items() for word in ("--set", f"{key}={json.dumps(value)}")
    ]
    return subprocess.run(
        ["bash", str(repository / "scripts" / "train_default.sh"), *map(str, words), *overrides],
        env=os.environ | {"PYTHON": sys.executable, "WORK": str(work)},
        capture_output=True,
        text=True,
        check=False,
    )


def seen(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["samples_seen"] for line in lines if "loss" in line]


@pytest.mark.slow
def test_the_larger_model_is_trained_from_packed_data_in_two_parts(repository, packed, tmp_path):
    work, config = tmp_path / "work", "configs/ct_f4_large.json"
    part = train(repository, work, packed, config, sizes=SIZES | {"training.stop_after": 4})
    assert part.returncode == 0, part.stderr
    run = work / "runs" / "ct_f4_large"
    assert seen(run)[-1] == 4
    datalist = json.loads((work / "train_ct" / "datalist.json").read_text())
    assert len(datalist["training"]) == 2
    whole = train(repository, work, packed, config)
    assert whole.returncode == 0, whole.stderr
    assert "resuming after 4 samples" in whole.stderr + whole.stdout
    assert seen(run) == sorted(set(seen(run)))
    assert seen(run)[-1] == 12
    assert load_model_folder(run).model.config.linear_skip


@pytest.mark.slow
def test_earlier_stages_are_trained_first(repository, packed, tmp_path):
    """The configurations are those of the default model with two stages and no data of its own."""
    shipped = repository / "configs" / "ct_f4_large.json"
    first, second = (tmp_path / f"stage{n}.json" for n in (1, 2))
    tree = json.loads(shipped.read_text())
    first.write_text(json.dumps(tree))
    tree["model"]["ckpt_path"] = "runs/stage1"
    second.write_text(json.dumps(tree, indent=1))
    done = train(repository, tmp_path / "work", packed, second)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "work/runs/stage1/done").exists()
    for name in ("stage1", "stage2"):
        assert seen(tmp_path / "work/runs" / name)[-1] == 12


def test_paths_are_relative_to_the_folder_of_the_caller(repository, packed, tmp_path):
    """In place of Python, a program prints its arguments."""
    program = tmp_path / "print_arguments"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    (tmp_path / "own.json").write_text("{}")
    for config, expected in (
        ("own.json", tmp_path / "own.json"),
        ("configs/ct_f4_large.json", (repository / "configs" / "ct_f4_large.json").resolve()),
    ):
        done = subprocess.run(
            ["bash", str(repository / "scripts" / "train_default.sh"), packed.name, config],
            cwd=tmp_path,
            env=os.environ | {"PYTHON": str(program), "WORK": "work"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"{packed / 'unpack.py'} train_ct" in done.stdout
        assert f"train {expected} --resume" in done.stdout
        assert (tmp_path / "work" / "train_ct").is_dir()


def test_without_data_the_script_says_what_it_needs(repository):
    done = subprocess.run(
        ["bash", "train_default.sh"],
        cwd=repository / "scripts",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Usage: train_default.sh" in done.stderr
    assert all(line.startswith("#") for line in done.stderr.splitlines())
