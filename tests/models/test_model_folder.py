import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import OutputError, WeightsError
from ct_vae.models import build_model
from ct_vae.models.model_folder import load_model_folder, save_model_folder
from tests._asserts import assert_only_files
from tests._small import SMALL_MODEL, small_model

FILES = {"config.json", "model.safetensors", "MODEL_CARD.md", "SHA256SUMS"}


def config(name="small"):
    return ModelFolderConfig(
        name=name,
        model=SMALL_MODEL,
        preprocess=PreprocessConfig(window_hu=(-500.0, 700.0)),
        latent=LatentConfig(scaling_factor=2.5, mean=(0.0,) * 4, std=(1.0,) * 4),
        samples_seen=7,
    )


def save(folder, seed=0, name="small"):
    save_model_folder(folder, small_model(seed), config(name), f"# {name}\n", {"note": "x"})


def state(folder):
    return load_model_folder(folder).model.state_dict()


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_saved_state_comes_back(tmp_path):
    save(tmp_path)
    loaded = load_model_folder(tmp_path)
    assert loaded.config == config()
    assert loaded.model.scaling_factor == 2.5
    assert not loaded.model.training
    assert same(loaded.model.state_dict(), small_model().state_dict())
    assert_only_files(tmp_path, FILES)


def test_checksums_are_those_of_the_standard_tool(tmp_path):
    save(tmp_path)
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)
    digest = load_model_folder(tmp_path).sha256
    assert f"{digest}  model.safetensors" in (tmp_path / "SHA256SUMS").read_text()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_damaged_file_is_refused(tmp_path, name):
    save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError):
        load_model_folder(tmp_path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_refused_by_name(tmp_path, name):
    save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(WeightsError, match=name):
        load_model_folder(tmp_path)


def test_a_newer_format_is_reported_as_such(tmp_path, monkeypatch):
    newer = config().model_dump_json().replace('"format_version":1', '"format_version":2')
    monkeypatch.setattr(ModelFolderConfig, "model_dump_json", lambda _self, **_k: newer)
    save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="format version 2, this installation reads 1"):
        load_model_folder(tmp_path)


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


CALLS = ("write", "fsync", "replace")


def interrupt(monkeypatch, number, error):
    """Let the number-th disk operation fail; gives a counter of operations."""
    count = [0]

    def wrapped(real):
        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == number:
                raise error
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrapped(getattr(os, name)))
    return count


def operations(folder, monkeypatch):
    with monkeypatch.context() as patch:
        count = interrupt(patch, -1, None)
        save(folder, 1, "new")
        return count[0]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "fault"), Killed()]
)
def test_an_interrupted_save_leaves_the_old_or_the_new_model(tmp_path, monkeypatch, error):
    save(tmp_path / "probe")
    total = operations(tmp_path / "probe", monkeypatch)
    assert total >= 3 * 5
    old, new = small_model(0).state_dict(), small_model(1).state_dict()
    for number in range(1, total + 1):
        folder = tmp_path / str(number)
        save(folder, 0, "old")
        with monkeypatch.context() as patch:
            interrupt(patch, number, error)
            with pytest.raises((OutputError, Killed)):
                save(folder, 1, "new")
        loaded = load_model_folder(folder)
        expected = old if loaded.config.name == "old" else new
        assert same(loaded.model.state_dict(), expected), number
        assert_only_files(folder, FILES)
        json.loads((folder / "config.json").read_text())
        save(folder, 1, "new")
        subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_the_first_save_is_whole_or_no_model_yet(tmp_path, monkeypatch):
    total = operations(tmp_path / "probe", monkeypatch)
    for number in range(1, total + 1):
        folder: Path = tmp_path / str(number)
        with monkeypatch.context() as patch:
            interrupt(patch, number, OSError(errno.ENOSPC, "full"))
            with pytest.raises((OutputError, Killed)):
                save(folder, 1, "new")
        if (folder / "model.safetensors").exists():
            assert same(state(folder), small_model(1).state_dict())
        else:
            with pytest.raises(WeightsError, match="not a model folder"):
                load_model_folder(folder)


def test_weights_of_a_folder_bring_their_scale(tmp_path):
    save(tmp_path)
    assert build_model(SMALL_MODEL, tmp_path).scaling_factor == 2.5
