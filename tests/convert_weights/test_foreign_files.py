import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ct_vae.convert_weights import unpickle
from ct_vae.convert_weights.foreign_files import embedded_metadata, read_foreign
from ct_vae.errors import ConfigError, OutputError, WeightsError
from tests._asserts import assert_only_files

TENSORS = {"encoder.a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.float64)}


def assert_tensors(state):
    assert state.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


class Malicious:
    """A pickle that would make a file."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_safetensors_file_has_no_configuration(tmp_path):
    save_file(TENSORS, tmp_path / "x.safetensors")
    state, config = read_foreign(tmp_path / "x.safetensors")
    assert_tensors(state)
    assert config is None


@pytest.mark.parametrize(("suffix", "zipped"), [(".ckpt", True), (".pt", False)])
def test_a_pickle_of_tensors_is_read(tmp_path, suffix, zipped):
    nested = {"state_dict": {"model": TENSORS}, "epoch": 3, "optimizer": {"lr": 0.1}}
    content = nested if suffix == ".ckpt" else TENSORS
    path = tmp_path / f"x{suffix}"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    state, config = read_foreign(str(path))
    assert_tensors(state)
    assert config is None
    assert_only_files(tmp_path, {path.name})


def test_a_malicious_pickle_is_refused_on_one_line_and_does_nothing(tmp_path, monkeypatch):
    made = tmp_path / "made"
    path = tmp_path / "x.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "b": Malicious(made)}, path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(WeightsError, match=r"x\.ckpt: a pickle with more.*mkdir") as caught:
        read_foreign(path)
    assert "\n" not in str(caught.value)
    assert not made.exists()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "no weights by name but list"),
        ({}, "no weights by name but dict"),
        ({"epoch": 3}, "no weights; its keys are epoch"),
        ({"model": TENSORS, "state_dict": TENSORS}, r"several places \(state_dict, model\)"),
        ({"a": torch.ones(1), "epoch": 3}, "no weights; its keys are a, epoch"),
        ({"model": {"model": {"model": {"model": TENSORS, "x": 1}, "x": 1}, "x": 1}}, "its keys"),
    ],
)
def test_what_holds_no_weights_or_too_many_is_refused(content, words):
    with pytest.raises(unpickle.Refusal, match=words):
        unpickle.weights_of(content)


def test_a_temporary_folder_that_is_full_or_absent_is_reported_with_exit_code_7(
    tmp_path, monkeypatch
):
    path = tmp_path / "x.pt"
    torch.save(TENSORS, path)
    assert unpickle.main(str(path), str(tmp_path / "gone" / "y")) == unpickle.UNWRITTEN
    real = subprocess.run

    def full(command, **options):
        return real([*command[:-1], str(tmp_path / "gone" / "y")], **options)

    monkeypatch.setattr(subprocess, "run", full)
    with pytest.raises(OutputError, match=r"cannot hold the weights of .*x\.pt: .*TMPDIR") as told:
        read_foreign(path)
    assert "Traceback" not in str(told.value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="cannot create a temporary folder"):
        read_foreign(path)


def test_averaged_weights_next_to_the_weights_do_not_matter():
    found = unpickle.weights_of({"state_dict": TENSORS, "ema": TENSORS, "hyper": {"a": 1}})
    assert_tensors(found)


def diffusers_folder(folder: Path, name="diffusion_pytorch_model.safetensors") -> Path:
    folder.mkdir(parents=True)
    if name.endswith("safetensors"):
        save_file(TENSORS, folder / name)
    else:
        torch.save(TENSORS, folder / name)
    (folder / "config.json").write_text(json.dumps({"norm_num_groups": 8}))
    return folder


@pytest.mark.parametrize(
    ("name", "pipeline"), [("safetensors", False), ("safetensors", True), ("bin", True)]
)
def test_a_diffusers_folder_brings_its_configuration(tmp_path, name, pipeline):
    folder = tmp_path / "vae" if pipeline else tmp_path / "x"
    diffusers_folder(folder, f"diffusion_pytorch_model.{name}")
    state, config = read_foreign(tmp_path if pipeline else folder)
    assert_tensors(state)
    assert config == {"norm_num_groups": 8}


def test_folders_without_weights_say_what_they_hold(tmp_path):
    with pytest.raises(WeightsError, match="none of diffusion_pytorch_model"):
        read_foreign(tmp_path)
    save_file(TENSORS, tmp_path / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(WeightsError, match=r"holds diffusion_pytorch_model\.fp16\.safetensors"):
        read_foreign(tmp_path)


def test_a_broken_configuration_is_refused(tmp_path):
    folder = diffusers_folder(tmp_path / "x")
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: not JSON"):
        read_foreign(folder)


@pytest.mark.parametrize("name", ["absent", "absent.safetensors", "x.txt", "x.h5"])
def test_missing_paths_or_of_another_kind_is_reported(tmp_path, name):
    for other in ("x.txt", "x.h5"):
        (tmp_path / other).write_bytes(b"text")
    with pytest.raises(WeightsError, match=r"no such file|its name is not that of a weights file"):
        read_foreign(tmp_path / name)


def test_weights_of_this_package_are_not_taken_for_a_peers(model_folder):
    with pytest.raises(WeightsError, match="weights of this package"):
        read_foreign(model_folder / "model.safetensors")


SHARDS = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]


def test_weights_that_are_split_are_refused_with_the_way_out(tmp_path):
    folder = tmp_path / "vae"
    folder.mkdir()
    for name in SHARDS:
        save_file(TENSORS, folder / name)
    (folder / "config.json").write_text("{}")
    for given in (tmp_path, folder, folder / SHARDS[0], folder / SHARDS[1]):
        with pytest.raises(WeightsError, match="of several files that") as caught:
            read_foreign(given)
        assert "max_shard_size" in str(caught.value)
        assert "give the file itself" not in str(caught.value)


@pytest.mark.parametrize("pipeline", [True, False])
def test_texts_next_to_the_weights_are_those_of_the_file_that_is_read(tmp_path, pipeline):
    folder = diffusers_folder(tmp_path / "vae")
    save_file(TENSORS, folder / "diffusion_pytorch_model.safetensors", {"k": "v"})
    save_file(TENSORS, folder / "model.safetensors", {"k": "other"})
    assert embedded_metadata(tmp_path if pipeline else folder)["k"] == "v"
    assert embedded_metadata(str(folder / "model.safetensors"))["k"] == "other"
    torch.save(TENSORS, tmp_path / "x.pt")
    assert embedded_metadata(tmp_path / "x.pt") == {}
