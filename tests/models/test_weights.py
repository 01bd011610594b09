import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from tests.models._models import make

from ct_vae.errors import WeightsError
from ct_vae.models.weights import load_into, load_metadata, load_weights


def test_what_was_saved_comes_back(tmp_path):
    state = make().state_dict()
    save_file(state, tmp_path / "model.safetensors", {"note": "text"})
    for path in (tmp_path, tmp_path / "model.safetensors"):
        loaded = load_weights(path)
        assert all(torch.equal(loaded[k], v) for k, v in state.items())
        assert load_metadata(path) == {"note": "text"}


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_pickles_are_refused_unread(tmp_path, protocol):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(WeightsError, match="pickle|not a readable safetensors"):
        load_weights(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="pickle"):
        load_weights(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(WeightsError, match="no such weights file"):
        load_weights(tmp_path)


WHOLE = save({"a": torch.arange(6.0), "b": torch.ones(2, 2)})


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_file_is_an_error_and_nothing_else(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(WeightsError):
        load_weights(path)


def test_a_difference_is_listed_and_leaves_the_model_alone():
    model = make()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    state["extra"] = torch.zeros(1)
    del state["quant_conv.bias"]
    state["encoder.conv_in.bias"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        load_into(model, state)
    message = str(caught.value)
    assert "1 missing (quant_conv.bias)" in message
    assert "1 unexpected (extra)" in message
    assert "encoder.conv_in.bias (3,) instead of (8,)" in message
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
