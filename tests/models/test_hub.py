import os
import subprocess
import sys

import pytest
import torch
import yaml

from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.inference.codec import load_codec
from ct_vae.models import VQVAE, AutoencoderKL
from ct_vae.models.autoencoder import Autoencoder
from ct_vae.models.hub import HubModel, load_model
from ct_vae.models.model_folder import load_model_folder
from tests._small import small_model
from tests.models._hub_server import hub_on_loopback


def equal(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_a_model_comes_back_from_its_folder_with_its_preprocessing(tmp_path):
    model = small_model()
    config = ModelFolderConfig(
        name="mine",
        model=model.config,
        preprocess=PreprocessConfig(window_hu=(-500, 500)),
        latent=LatentConfig(scaling_factor=2.0),
    )
    model.save_pretrained(tmp_path / "a", config=config, license="cc-by-4.0")
    again = AutoencoderKL.from_pretrained(tmp_path / "a")
    assert equal(again, model)
    assert not again.training
    assert again.scaling_factor == 2.0
    again.save_pretrained(tmp_path / "b")
    assert load_model_folder(tmp_path / "b").config == config
    assert load_codec(tmp_path / "b").preprocessor.scale.window_hu == (-500, 500)
    header = (tmp_path / "a" / "README.md").read_text().split("---\n")[1]
    card = yaml.safe_load(header)
    assert (card["license"], card["library_name"]) == ("cc-by-4.0", "ct_vae")


def test_a_default_model_is_loaded_by_name_and_a_folder_before_a_repository(tmp_path, monkeypatch):
    assert isinstance(Autoencoder.from_pretrained("ct-f4"), AutoencoderKL)
    monkeypatch.chdir(tmp_path)
    small_model().save_pretrained("runs/mine")
    assert equal(AutoencoderKL.from_pretrained("runs/mine"), small_model())


def test_another_class_and_a_revision_of_a_folder_are_refused(tmp_path):
    small_model().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="a AutoencoderKL, not a VQVAE") as caught:
        VQVAE.from_pretrained(tmp_path)
    assert caught.value.hint == "use AutoencoderKL"
    with pytest.raises(ConfigError, match="only repositories have revisions"):
        AutoencoderKL.from_pretrained(tmp_path, revision="main")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hf://org/name", HubModel("org/name")),
        ("hf://org/name@v1.0", HubModel("org/name", "v1.0")),
        (f"hf://a/b@main#sha256={'0' * 64}", HubModel("a/b", "main", "0" * 64)),
        (f"hf://a/b#sha256={'ab' * 6}", HubModel("a/b", None, "ab" * 6)),
    ],
)
def test_addresses(address, expected):
    assert HubModel.parse(address) == expected


@pytest.mark.parametrize("address", ["hf://name", "hf://a/b/c", "hf://a/b@", "hf://a/b#sha256=12"])
def test_other_addresses_are_refused(address):
    with pytest.raises(ConfigError, match="not an address of a model"):
        load_model(address)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match="huggingface_hub") as caught:
        load_codec("hf://org/name")
    assert "ct_vae[hub]" in caught.value.hint


_PROGRAM = """
import sys
from ct_vae import load_codec
from ct_vae.errors import CtVaeError
from ct_vae.models import AutoencoderKL
for action, *words in (line.split() for line in sys.stdin):
    try:
        if action == "push":
            model = AutoencoderKL.from_pretrained(words[0])
            print(model.push_to_hub(words[1]))
        elif action == "load":
            print(type(AutoencoderKL.from_pretrained(*words)).__name__)
        elif action == "codec":
            print(load_codec(*words).identity.sha256)
    except CtVaeError as error:
        print(type(error).__name__, error)
"""


def run(address, folder, lines, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(folder),
            "HF_TOKEN": "stand-in",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_models_go_to_the_hub_and_come_back(model_folder, tmp_path):
    with hub_on_loopback() as (hub, address):
        pushed, loaded, exact, pinned, changed, absent, revision = run(
            address,
            tmp_path / "cache",
            [
                f"push {model_folder} org/small",
                "load org/small",
                "codec hf://org/small",
                f"codec hf://org/small@{hub.sha('org/small', 0)}",
                f"codec hf://org/small#sha256={'0' * 64}",
                "load org/absent",
                "codec hf://org/small@v9",
            ],
        )
        files = hub.repositories["org/small"][-1]
        assert {"config.json", "model.safetensors", "MODEL_CARD.md", "SHA256SUMS"} < files.keys()
        assert files["README.md"].startswith(b"---\nlibrary_name: ct_vae\n")
        assert pushed.endswith(hub.sha("org/small", 0))
        assert loaded == "AutoencoderKL"
        assert exact == pinned
        assert changed.startswith("WeightsError hf://org/small#sha256=000")
        assert f"the weights have sha256 {exact}" in changed
        assert absent.startswith("WeightsError hf://org/absent: no such repository")
        assert revision.startswith("WeightsError hf://org/small: no revision v9")
        # A damaged download does not load.
        hub.commit("org/small", {**files, "model.safetensors": files["model.safetensors"][:-1]})
        damaged, offline = run(
            address, tmp_path / "other", ["codec hf://org/small", "load org/small main"]
        )
        assert damaged.startswith("WeightsError")
        assert offline.startswith("WeightsError")
    cached, missing = run(
        "http://127.0.0.1:9",
        tmp_path / "cache",
        [f"codec hf://org/small@{hub.sha('org/small', 0)}#sha256={exact}", "load org/other"],
        HF_HUB_OFFLINE="1",
    )
    assert cached == exact
    assert missing.startswith("WeightsError hf://org/other: not in the cache")
