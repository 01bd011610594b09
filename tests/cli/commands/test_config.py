import json

from ct_vae.config.load import load_config
from ct_vae.config.run import RunConfig
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
