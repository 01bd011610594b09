import json

import pytest
import torch

from ct_vae.config.load import load_config
from ct_vae.config.model import ModelConfig
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.models import (
    AutoencoderKL,
    UntrainedWarning,
    build_from_json,
    build_model,
    build_untrained,
)
from tests.models._small import SMALL, noise, save_weights, small_model

OTHER = {
    "spatial_dims": 2,
    "in_channels": 3,
    "out_channels": 2,
    "resolution": 32,
    "down_channels": (8, 12, 16),
    "num_res_blocks": 1,
    "attn_resolutions": (2,),
    "mid_attn": False,
    "z_channels": 3,
    "double_z": False,
    "embed_dim": 5,
    "norm_groups": 4,
    "tanh_out": True,
    "dropout": 0.25,
}


def test_every_number_of_a_configuration_reaches_the_model():
    built = build_untrained(ModelConfig(**OTHER))
    with pytest.warns(UntrainedWarning):
        plain = AutoencoderKL(**OTHER)
    assert str(built) == str(plain)
    assert built.config == plain.config
    assert built.resolution == plain.resolution == 32


@pytest.mark.parametrize("numbers", [{}, {"base_ch": 8, "ch_mult": (1, 2, 2)}, OTHER])
def test_model_and_configuration_derive_the_same(numbers):
    config = ModelConfig(**numbers)
    with torch.device("meta"):
        model = build_untrained(config)
    assert model.factor == config.factor
    assert model.latent_channels == config.latent_channels
    assert model.config == config


def test_random_weights_are_announced_unless_wanted(tmp_path, recwarn):
    config = ModelConfig(**SMALL)
    build_untrained(config)
    assert not recwarn.list
    with pytest.warns(UntrainedWarning):
        build_model(config)
    (tmp_path / "run.json").write_text(json.dumps({"model": SMALL}))
    with pytest.warns(UntrainedWarning):
        assert build_from_json(tmp_path / "run.json").factor == (2, 2, 2)


def test_weights_come_from_the_argument_before_the_configuration(tmp_path):
    models = {name: small_model(seed=i) for i, name in enumerate(("own", "given"))}
    for name, model in models.items():
        save_weights(tmp_path / f"{name}.safetensors", model.state_dict(), {})
    config = ModelConfig(**SMALL, ckpt_path=str(tmp_path / "own.safetensors"))
    x = noise(1, 1, 4, 4, 4)
    own = build_model(config).eval()
    given = build_model(config, tmp_path / "given.safetensors").eval()
    torch.testing.assert_close(own.moments(x), models["own"].moments(x), rtol=0, atol=0)
    torch.testing.assert_close(given.moments(x), models["given"].moments(x), rtol=0, atol=0)


def test_what_cannot_be_built_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"model": {"base_chh": 8}}')
    with pytest.raises(ConfigError, match=r"did you mean model\.base_ch"):
        build_from_json(tmp_path / "run.json")
    with pytest.raises(WeightsError, match="no such weights file"):
        build_model(ModelConfig(**SMALL, ckpt_path=str(tmp_path / "absent.safetensors")))


def test_every_shipped_configuration_builds(repository):
    paths = sorted(p for p in (repository / "configs").glob("*.json") if p.stem != "schema")
    for path in paths:
        # The weights that a stage goes on from are made by the stage before.
        config = load_config(path).model.model_copy(update={"ckpt_path": None})
        with torch.device("meta"):
            assert build_untrained(config).factor == config.factor


@pytest.mark.parametrize("kind", ["kl", "vq", "magvit"])
def test_choices_of_a_configuration_reach_every_kind(kind):
    chosen = {
        "norm": "rms",
        "padding_mode": "replicate",
        "decoder_blocks": 3,
        "checkpointing": True,
    }
    built = build_untrained(ModelConfig(latent_type=kind, base_ch=8, **chosen)).config
    assert (built.norm, built.padding_mode) == ("rms", "replicate")
    assert (built.decoder_level_blocks, built.checkpointing) == ((3,) * 4, True)
