from pathlib import Path

import pytest

from ct_vae.config import default_models as module
from ct_vae.config.default_models import default_models, find_model
from ct_vae.errors import WeightsError


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An installation with two default models; tests run in another folder."""
    folder = tmp_path / "weights"
    for name in ("ct-f4", "ct-f8"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    (folder / "__pycache__").mkdir()
    monkeypatch.setattr(module, "_FOLDER", folder)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return folder


def test_a_name_is_the_model_that_ships(shelf):
    assert default_models() == ("ct-f4", "ct-f8")
    assert find_model("ct-f4") == shelf / "ct-f4"
    assert find_model(Path("ct-f4")) == shelf / "ct-f4"


def test_a_folder_of_that_name_is_distinguished_by_dot_slash(shelf):
    Path("ct-f4").mkdir()
    assert find_model("ct-f4") == shelf / "ct-f4"
    assert find_model("./ct-f4") == Path("ct-f4")
    assert find_model(Path("./ct-f4")) == Path("ct-f4")


@pytest.mark.parametrize("path", ["runs/ct-f4", "/runs/gone", "model.safetensors", "./gone"])
def test_paths_are_left_alone(shelf, path):
    assert find_model(path) == Path(path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ct_f4", "did you mean ct-f4?"), ("CT-F8", "did you mean ct-f8?"), ("xyz", "ct-f4, ct-f8")],
)
def test_other_names_are_refused_with_the_names_there_are(shelf, name, hint):
    with pytest.raises(WeightsError, match="no default model has this name") as caught:
        find_model(name)
    assert hint in caught.value.hint


def test_an_installation_without_models_says_so(shelf, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_FOLDER", tmp_path / "none")
    assert default_models() == ()
    with pytest.raises(WeightsError) as caught:
        find_model("ct-f4")
    assert "not installed" in caught.value.hint
