import json

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from ct_vae.convert_weights.folder import (
    change,
    continuous,
    export_folder,
    is_own,
    open_origin,
    save_converted,
)
from ct_vae.errors import ConfigError, WeightsError
from ct_vae.models.model_folder import load_model_folder
from tests._small import SMALL_CODES, small_model
from tests.convert_weights._forms import exported


@pytest.fixture
def source(tmp_path):
    """Weights of MONAI and their configuration."""
    state, config = exported("monai")
    save_file(state, tmp_path / "monai.safetensors")
    return tmp_path / "monai.safetensors", config


def test_weights_become_a_model_folder_that_goes_out_as_it_came(source, tmp_path):
    path, config = source
    origin = open_origin(path, config)
    said = save_converted(tmp_path / "model", origin, "mine", (-900.0, 900.0), (0.0, 1.0))
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.config.preprocess.window_hu == (-900, 900)
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert all(f"- {line}\n" in card for line in said)
    assert "HU -900 to 900 are represented as 0 to 1" in card
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as weights:
        assert json.loads(weights.metadata()["conversion"]) == list(said)
    out = tmp_path / "out.safetensors"
    (fact,) = export_folder(tmp_path / "model", out, "monai")
    assert "HU -900 to 900 as 0 to 1" in fact
    with safe_open(out, "pt") as again, safe_open(path, "pt") as first:
        assert again.keys() == first.keys()
        assert all(again.get_tensor(n).equal(first.get_tensor(n)) for n in first.keys())  # noqa: SIM118
    assert json.loads(out.with_suffix(".json").read_text()) == json.loads(json.dumps(config))


def test_a_model_folder_is_an_origin_with_its_own_configuration(model_folder, source):
    assert is_own(model_folder)
    assert not is_own(source[0].parent)
    origin = open_origin(model_folder, None)
    assert origin.form is None
    assert origin.preprocess is not None
    assert origin.statements[0].startswith("origin: model 'small' (")
    with pytest.raises(ConfigError, match="has its own configuration"):
        open_origin(model_folder, {})


def test_errors_of_weights_name_their_file(source):
    path, config = source
    with pytest.raises(WeightsError, match=rf"^{path}: .*unknown keys"):
        open_origin(path, config | {"surprise": 1})


def test_changes_are_made_and_stated(tmp_path):
    state, config = exported("diffusers")
    save_file(state, tmp_path / "d.safetensors")
    origin = open_origin(tmp_path / "d.safetensors", config)
    assert change(origin, None, 1, None).model is origin.model
    changed = change(origin, "averaged", 1, 1)
    assert (changed.model.spatial_dims, changed.model.in_channels) == (3, 1)
    assert [line.split(":")[0] for line in changed.statements[-2:]] == ["changed", "changed"]
    with pytest.raises(ConfigError, match="a depth stride needs an inflation"):
        change(origin, None, 2, None)


def test_codes_cannot_be_converted():
    with pytest.raises(ConfigError, match="only continuous autoencoders can be converted"):
        continuous(small_model(base=SMALL_CODES["magvit"]))
