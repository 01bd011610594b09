"""Rows 39 and 40 of the list of faults: datalists and configurations."""

import json

import pytest
import torch

from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.training.test_trainer import config


@pytest.fixture
def run_file(tmp_path):
    """A run configuration with another section ``data``."""

    def write(data, **changes):
        tree = config(tmp_path / "run").as_json()
        tree["data"] = data
        tree.update(changes)
        path = tmp_path / "run.json"
        path.write_text(json.dumps(tree))
        return path

    return write


def refused(path, tmp_path, *words):
    code, text = call("train", path, "--device", "cpu")
    assert code == 2, text
    for word in words:
        assert word in text, text
    assert not (tmp_path / "run").exists()


def test_39_everything_wrong_with_a_datalist_is_reported_at_once(tmp_path, run_file):
    for k, name in enumerate("abc"):
        write_volume(ct_volume((20, 18, 16), seed=k), tmp_path / f"{name}.nii.gz")
    lists = {
        "training": [
            {"image": "a.nii.gz", "patient": "p1"},
            "gone.nii.gz",
            "/another/machine/x.nii.gz",
            "b.nii.gz",
            "b.nii.gz",
        ],
        "validation": [{"image": "c.nii.gz", "patient": "p1"}],
    }
    (tmp_path / "list.json").write_text(json.dumps(lists))
    refused(
        run_file({"datalist": str(tmp_path / "list.json")}),
        tmp_path,
        "4 problems",
        "gone.nii.gz is missing",
        "/another/machine/x.nii.gz is missing",
        "b.nii.gz is listed twice",
        "patient 'p1' is in training (a.nii.gz) and validation (c.nii.gz)",
    )


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("training.bacth_size=2", ("training.bacth_size", "did you mean", "batch_size")),
        ('training.lr="fast"', ("training.lr", "number")),
        ("training.patch_size=[9,8,8]", ("patch_size",)),
        ("model.reg_type=vq", ("reg_type",)),
        ("training.lr=NaN", ("training.lr", "NaN")),
    ],
)
def test_40_a_wrong_configuration_is_reported_before_a_device_is_touched(
    tmp_path, run_file, monkeypatch, assignment, words
):
    def touched(*_):
        pytest.fail("a device was asked for")

    monkeypatch.setattr(torch.cuda, "is_available", touched)
    monkeypatch.setattr("ct_vae.training.distributed.pick_device", touched, raising=False)
    path = run_file({"phantoms": {"train": 1, "val": 1}})
    code, text = call("train", path, "--set", assignment)
    assert code == 2, text
    for word in words:
        assert word in text, text
    assert not (tmp_path / "run").exists()
