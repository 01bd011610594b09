import json

import pytest

from ct_vae.config.load import load_config
from ct_vae.config.run import RunConfig
from ct_vae.config.shipped_configs import SCHEMA, shipped_configs
from tests.cli._run import call


def test_show_prints_every_key_and_can_be_read_again(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"training": {"lr": 2e-4}}')
    code, text = call("config", "show", path, "--set", "training.seed=5")
    assert code == 0
    path.write_text(text)
    config = load_config(path)
    assert (config.training.lr, config.training.seed) == (2e-4, 5)
    assert json.loads(text)["model"].keys() >= RunConfig().as_json()["model"].keys()


def test_check_says_ok_or_what_is_wrong(tmp_path, repository):
    assert call("config", "check", repository / "configs" / "quickstart.json")[0] == 0
    code, text = call("config", "check", tmp_path / "absent.json")
    assert (code, "no such file" in text) == (2, True)


def test_schema_is_json():
    code, text = call("config", "schema")
    assert code == 0
    assert json.loads(text)["title"] == "RunConfig"


def test_list_prints_names_that_can_be_given():
    code, text = call("config", "list")
    assert code == 0
    assert [line.split()[0] for line in text.splitlines()] == list(shipped_configs())
    for row in json.loads(call("config", "list", "--json")[1]):
        assert call("config", "check", row["name"])[0] == 0


def test_new_copies_a_configuration_for_editing_beside_its_schema(tmp_path):
    path = tmp_path / "mine" / "my.json"
    assert call("config", "new", "kl_f4", "-o", path) == (0, f"{path}\n")
    assert load_config(path) == load_config("kl_f4")
    schema = path.with_name(json.loads(path.read_text())["$schema"])
    assert schema.read_text() == SCHEMA.read_text()
    path.write_text('{"notes": "edited"}')
    schema.write_text("{}")
    code, text = call("config", "new", "kl_f4", "-o", path)
    assert (code, "exists" in text) == (2, True)
    assert load_config(path).notes == "edited"
    assert call("config", "new", "kl_f8", "-o", path, "--overwrite")[0] == 0
    assert load_config(path) == load_config("kl_f8")
    assert schema.read_text() == "{}"


@pytest.mark.parametrize(
    ("name", "output"), [("kl_f5", "a.json"), ("kl_f4", "folder"), ("kl_f4", "schema.json")]
)
def test_new_writes_nothing_if_it_refuses(tmp_path, name, output):
    assert call("config", "new", name, "-o", tmp_path / output)[0] == 2
    assert not list(tmp_path.iterdir())
