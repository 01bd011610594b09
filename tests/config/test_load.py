import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.config.default_models import find_model
from ct_vae.config.load import load_config, parse_config, schema_text
from ct_vae.config.run import RunConfig
from ct_vae.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    return path


def test_an_empty_object_is_the_default_run(tmp_path):
    assert load_config(write(tmp_path, "{}")) == RunConfig()


def test_what_show_prints_can_be_read_again(tmp_path):
    config = RunConfig()
    assert load_config(write(tmp_path, json.dumps(config.as_json()))) == config


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"trainign": {}}, r"trainign is not a known key, did you mean training\?"),
        (
            {"training": {"lrr": 1}},
            r"training\.lrr is not a known key, did you mean training\.lr\?",
        ),
        ({"model": {"lr": 1}}, "model.lr is not a known key, it belongs to section 'training'"),
        ({"data": {"phantoms": {"sed": 1}}}, r"did you mean data\.phantoms\.seed\?"),
        ({"training": {"lr": "fast"}}, 'training.lr: .*valid number, got "fast"'),
        ({"training": {"seed": 1.0}}, "training.seed: .*integer"),
        ({"training": {"betas": [0.9, 2]}}, r"training\.betas\[1\]: .*less than 1"),
        ({"training": {"patch_size": [63, 64, 64]}}, "multiples of the model's factor"),
        ({"training": {"patch_size": [64, 64]}}, "needs 3 sides"),
        ({"training": {"recon_type": "l3"}}, "'l1', 'mse'"),
        ({"preprocess": {"window_hu": [100, -100]}}, "low to high"),
        ({"preprocess": {"axcodes": "RAL"}}, "one of R/L, A/P and S/I"),
        ({"preprocess": {"spacing_mm": [1, 0, 1]}}, "must be positive"),
        ({"data": {"datalist": "a", "train": ["b"]}}, "one source of volumes"),
        ({"data": {"val": ["b"]}}, "needs train"),
        ({"training": {"betas": [1.0, 0.9]}}, r"betas\[0\]: .*less than 1"),
        ({"model": {"out_channels": 3}}, "differ from model.in_channels"),
        ({"training": {"batch_size": 9, "samples": 8}}, "exceeds samples"),
    ],
)
def test_each_mistake_is_named_with_its_place(tree, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(tree, "config.json")


def test_all_mistakes_are_reported_at_once_on_one_line():
    with pytest.raises(ConfigError) as caught:
        parse_config({"training": {"lrr": 1}, "model": {"base_ch": -1}}, "config.json")
    error = caught.value
    assert error.cause == "config.json: 2 problems"
    assert [detail.split()[0] for detail in error.details] == ["model.base_ch:", "training.lrr"]
    assert "\n" not in str(error)
    assert all(detail in str(error) for detail in error.details)
    assert [line[:5] for line in error.lines()[1:]] == ["  1. ", "  2. "]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2"),
        ("[]", "expected a JSON object"),
        ('{"notes": "a", "notes": "b"}', "'notes' occurs twice"),
        ('{"training": {"lr": NaN}}', "NaN"),
        ('{"training": {"lr": Infinity}}', "Infinity"),
        ('{"training": {"lr": 1e999}}', "lr"),
        ("", "not JSON"),
    ],
)
def test_what_is_not_the_json_of_a_configuration_is_refused(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(tmp_path, text))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin").write_bytes(b'{"notes": "\xe9"}')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 11"):
        load_config(tmp_path / "latin")


def test_overrides_win_and_take_json_or_text(tmp_path):
    path = write(tmp_path, '{"training": {"lr": 1e-4, "seed": 3}}')
    sets = ["training.lr=2e-4", "training.output_dir=runs/x", "training.betas=[0.5,0.9]"]
    config = load_config(path, sets)
    assert (config.training.lr, config.training.seed) == (2e-4, 3)
    assert config.training.output_dir == "runs/x"
    assert config.training.betas == (0.5, 0.9)


@pytest.mark.parametrize(
    "text", ["training.lr", "=1", "training..lr=1", "training.lr.x=1", "a=NaN"]
)
def test_malformed_overrides_are_refused(tmp_path, text):
    path = write(tmp_path, '{"training": {"lr": 1e-4}}')
    with pytest.raises(ConfigError, match="--set"):
        load_config(path, [text])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
sections = st.sampled_from(["model", "training", "data", "preprocess", "inference", "notes"])
keys = st.sampled_from(["lr", "patch_size", "base_ch", "ch_mult", "phantoms", "window_hu", "x"])


@given(st.dictionaries(sections, json_values | st.dictionaries(keys, json_values), max_size=3))
def test_any_json_is_a_configuration_or_a_configuration_error(tree):
    plain = json.loads(json.dumps(tree).replace("NaN", "0").replace("Infinity", "1"))
    with contextlib.suppress(ConfigError):
        assert parse_config(plain, "x").as_json()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_patch_size_follows_from_the_model(dims):
    tree = {"model": {"spatial_dims": dims, "ch_mult": [1] * 5}}
    assert parse_config(tree, "x").patch_size == (64,) * dims


def test_a_byte_order_mark_of_windows_editors_is_taken(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf{}")
    assert load_config(tmp_path / "config.json") == RunConfig()


def test_the_shipped_schema_is_current(repository):
    shipped = (repository / "configs" / "schema.json").read_text()
    assert shipped == schema_text(), "run: ct-vae config schema > configs/schema.json"


def test_every_key_is_described():
    definitions = json.loads(schema_text())["$defs"]
    bare = [
        f"{name}.{key}"
        for name, section in definitions.items()
        for key, value in section["properties"].items()
        if "description" not in value
    ]
    assert not bare


@pytest.mark.parametrize(
    "name",
    [
        "quickstart",
        "ct_f4",
        "ct_f4_large",
        "ct_f4c16",
        "kl_f4",
        "kl_f8",
        "vq_f4",
        "magvit_f8",
        "sd_2d",
    ],
)
def test_every_shipped_configuration_loads(repository, name):
    config = load_config(repository / "configs" / f"{name}.json")
    assert config.notes


def test_a_model_to_start_from_brings_its_architecture_and_preprocessing(tmp_path):
    path = tmp_path / "tune.json"
    path.write_text('{"model": {"ckpt_path": "ct-f4"}, "training": {"lr": 1e-5}}')
    source = json.loads((find_model("ct-f4") / "config.json").read_text())
    found = load_config(path).as_json()
    assert found["model"] == {**source["model"], "ckpt_path": "ct-f4"}
    assert found["preprocess"] == source["preprocess"]
    assert found["training"]["lr"] == 1e-5
    # What the file says itself is kept.
    path.write_text('{"model": {"ckpt_path": "ct-f4"}, "preprocess": {"window_hu": [-1000, 1000]}}')
    assert load_config(path).preprocess.window_hu == (-1000, 1000)
    path.write_text('{"model": {"ckpt_path": "ct-f4", "embed_dim": 3}}')
    assert load_config(path).model.embed_dim == 3
    assert load_config(path).model.down_channels is None
    path.write_text('{"model": {"ckpt_path": "absent"}}')
    assert load_config(path).model.ckpt_path == "absent"
