import pytest

from ct_vae.config.default_models import find_model
from ct_vae.errors import ConfigError
from ct_vae.io.atomic.file import sha256_file
from ct_vae.training.checkpoints.content import Content, named_weights
from tests.datasets._files import run_config

BEFORE = Content({"train": ["a", "b"], "val": ["c"]}, {"model.ckpt_path": "w"})


def now(train="ab", val="c", weights="w"):
    keys = {"train": [f"case {d}" for d in train], "val": [f"case {d}" for d in val]}
    return Content({"train": list(train), "val": list(val)}, {"model.ckpt_path": weights}, keys)


def test_the_same_content_is_accepted_and_stored_without_names():
    now().check(BEFORE.as_json())
    assert "case a" not in str(now().as_json())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (now(train="ba"), "its 2 training cases had another order"),
        (now(train="abd"), "it had 2 training cases, and there are 3"),
        (now(train="ad"), "1 of 2 training cases hold something else, such as case d"),
        (now(val="x"), "1 of 1 validation cases hold something else, such as case x"),
        (now(weights="x"), "the weights of model.ckpt_path have changed"),
    ],
)
def test_a_difference_is_named(content, words):
    with pytest.raises(ConfigError, match=f"the run began with other data: {words}"):
        content.check(BEFORE.as_json())


def test_all_differences_are_listed_together():
    with pytest.raises(ConfigError, match=r"training cases.*; .*validation.*; the weights"):
        now("ba", "x", "x").check(BEFORE.as_json())


def test_weights_are_known_by_their_bytes(tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"weights")
    config = run_config(
        model={"ckpt_path": "ct-f4"},
        training={
            "patch_size": (16, 16, 16),
            "perceptual_weight": 1.0,
            "perceptual_weights_path": str(tmp_path / "vgg.pth"),
        },
    )
    assert named_weights(config) == {
        "model.ckpt_path": sha256_file(find_model("ct-f4") / "model.safetensors"),
        "training.perceptual_weights_path": sha256_file(tmp_path / "vgg.pth"),
    }
    assert named_weights(run_config()) == {}
