from pathlib import Path

import pytest

from ct_vae.config.load import load_config
from ct_vae.config.shipped_configs import SCHEMA, find_config, shipped_configs
from ct_vae.errors import ConfigError
from ct_vae.models import build_from_json


def test_each_is_found_by_its_name_and_described():
    assert {"quickstart", "kl_f4", "ct_f4"} <= set(shipped_configs())
    assert SCHEMA.stem not in shipped_configs()
    for name in shipped_configs():
        assert load_config(name).notes
        assert load_config(name) == load_config(find_config(name))


def test_the_folder_of_the_checkout_is_that_of_the_package(repository):
    assert (repository / "configs").resolve() == SCHEMA.parent


def test_a_file_of_that_name_is_given_with_dot_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("{}")
    assert find_config("quickstart").parent == SCHEMA.parent
    assert find_config("./quickstart") == Path("quickstart")
    assert find_config(Path("quickstart")) == Path("quickstart")


@pytest.mark.parametrize("path", ["configs/kl_f4.json", "/gone/a.json", "kl_f4.json", "./kl_f4"])
def test_paths_stay_as_they_are(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(path) == Path(path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("quikstart", "did you mean quickstart?"), ("KL_F4", "did you mean kl_f4?"), ("x", "sd_2d")],
)
def test_an_unknown_name_is_an_error_with_the_names(name, hint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no configuration of the package") as caught:
        load_config(name)
    assert hint in caught.value.hint


def test_errors_of_overrides_name_the_configuration_not_the_installation():
    with pytest.raises(ConfigError, match=r"^quickstart: training\.lrr"):
        load_config("quickstart", ["training.lrr=1"])


@pytest.mark.filterwarnings("ignore::ct_vae.models.autoencoder.UntrainedWarning")
def test_models_are_built_by_the_name_of_a_configuration():
    assert (
        build_from_json("quickstart").latent_channels
        == load_config("quickstart").model.latent_channels
    )
