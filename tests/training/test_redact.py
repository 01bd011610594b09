import json

from ct_vae.config.load import parse_config
from ct_vae.training.redact import redacted


def tree(**data):
    settings = {"data": data, "training": {"output_dir": "/secret/run"}}
    return parse_config(settings, "test").as_json()


def test_no_path_is_left():
    text = json.dumps(redacted(tree(train=["/secret/a.nii.gz"], val=["/secret/b.nii.gz"])))
    assert "secret" not in text
    assert "secret" not in json.dumps(redacted(tree(datalist="/secret/list.json")))


def test_paths_of_other_models_are_not_left():
    settings = {"training": {"trunk_from": "/secret/run"}, "model": {}}
    assert "secret" not in json.dumps(redacted(parse_config(settings, "test").as_json()))
    settings = {"model": {"ckpt_path": "/secret/run"}}
    assert "secret" not in json.dumps(redacted(parse_config(settings, "test").as_json()))


def test_equal_paths_have_equal_digests_and_others_do_not():
    one, same, other = (
        redacted(tree(train=[name]))["data"]["train"] for name in ("/a", "/a", "/b")
    )
    assert one == same != other
    assert one.startswith("1 path(s)")


def test_everything_else_is_kept():
    before = tree(train=["/a"])
    after = redacted(before)
    assert after["model"] == before["model"]
    assert after["training"]["seed"] == before["training"]["seed"]
    assert before["data"]["train"] == ["/a"]
