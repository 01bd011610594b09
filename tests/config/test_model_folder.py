import json

import pytest

from ct_vae.config.model import ModelConfig
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig, parse_model_folder
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import WeightsError

CONFIG = ModelFolderConfig(
    name="small",
    model=ModelConfig(down_channels=(4, 8)),
    preprocess=PreprocessConfig(),
    latent=LatentConfig(scaling_factor=2.0, mean=(0.0,) * 4, std=(1.0,) * 4, samples=3),
)


def changed(**keys):
    return json.dumps({**CONFIG.model_dump(mode="json"), **keys})


def test_a_written_configuration_is_read_back():
    assert parse_model_folder(CONFIG.model_dump_json(), "config.json") == CONFIG


def test_a_newer_format_says_what_to_do():
    with pytest.raises(WeightsError, match="format version 2, this installation reads 1") as error:
        parse_model_folder(changed(format_version=2, surprise=1), "config.json")
    assert error.value.hint == "install a newer ct_vae"


@pytest.mark.parametrize("text", ["{", "[]", changed(latent={}), changed(name=3), changed(x=1)])
def test_anything_else_is_an_error_with_the_place(text):
    with pytest.raises(WeightsError, match=r"^config\.json"):
        parse_model_folder(text, "config.json")


def test_names_of_files_that_are_not_utf8_can_be_stored():
    name = b"m\xf6del".decode("utf-8", "surrogateescape")
    config = CONFIG.model_validate({**CONFIG.model_dump(), "name": name})
    assert parse_model_folder(config.model_dump_json(), "x").name == "m\ufffddel"
