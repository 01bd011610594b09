import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from ct_vae.blocks.quantizers import EMACodebook
from ct_vae.errors import WeightsError
from ct_vae.models.weights import load_into, load_metadata, load_weights
from tests._asserts import assert_only_files
from tests.models._small import save_weights, small_model

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.float64)}


def test_saved_state_is_loaded(tmp_path):
    path = tmp_path / "sub" / "x.safetensors"
    save_weights(path, TENSORS, {"notes": "ä {}"})
    loaded = load_weights(path)
    assert loaded.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)
    assert load_metadata(path) == {"format": "pt", "notes": "ä {}"}
    assert_only_files(path.parent, {"x.safetensors"})


def test_views_and_parameters_are_saved_as_they_read(tmp_path):
    turned = nn.Parameter(torch.arange(6.0).view(2, 3)).T
    save_weights(tmp_path / "x.safetensors", {"a": turned}, {})
    torch.testing.assert_close(load_weights(tmp_path / "x.safetensors")["a"], turned.detach())


def test_a_folder_represents_its_weights_file(tmp_path):
    save_weights(tmp_path / "model.safetensors", TENSORS, {"k": "v"})
    assert load_weights(tmp_path).keys() == TENSORS.keys()
    assert load_metadata(tmp_path)["k"] == "v"


def test_loaded_tensors_outlive_their_file(tmp_path):
    path = tmp_path / "x.safetensors"
    save_weights(path, TENSORS, {})
    loaded = load_weights(path)
    path.write_bytes(bytes(path.stat().st_size))
    torch.testing.assert_close(loaded["a"], TENSORS["a"], rtol=0, atol=0)


def test_a_header_of_any_length_is_read(tmp_path):
    # The length comes first: some begin with the byte that a pickle begins with.
    beginnings = set()
    for extra in range(0, 256, 8):
        content = save(TENSORS, {"k": "v" * extra})
        beginnings.add(content[0])
        (tmp_path / "x.safetensors").write_bytes(content)
        assert load_weights(tmp_path / "x.safetensors").keys() == TENSORS.keys()
    assert 0x80 in beginnings


def pickled(tmp_path, **options):
    torch.save(TENSORS, tmp_path / "x.pt", **options)
    return (tmp_path / "x.pt").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable safetensors file"),
        (b"\0" * 100, "not a readable safetensors file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page; only safetensors"),
        (b"\n  <html>", "a web page; only safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS.*git lfs pull"),
        (json.dumps({"a": [1, 2]}).encode(), "not a readable safetensors file"),
        (save(TENSORS)[:-1], "not a readable safetensors file"),
        (save(TENSORS) + b"\0", "not a readable safetensors file"),
    ],
)
def test_other_content_is_refused_on_one_line(tmp_path, content, words):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    for read in (load_weights, load_metadata):
        with pytest.raises(WeightsError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_refused_unread(tmp_path, zipped):
    path = tmp_path / "x.safetensors"
    path.write_bytes(pickled(tmp_path, _use_new_zipfile_serialization=zipped))
    with pytest.raises(WeightsError, match=r"a pickle.*only safetensors are read"):
        load_weights(path)


def test_missing_paths_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.safetensors: no such weights file"):
        load_weights(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match=r"model\.safetensors: no such weights file"):
        load_weights(tmp_path)


@given(st.integers(0, len(save(TENSORS)) - 1))
def test_every_truncated_file_is_refused(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(save(TENSORS)[:length])
    with pytest.raises(WeightsError):
        load_weights(path)


def test_a_model_takes_its_own_weights_bit_for_bit(tmp_path):
    first, second = small_model(seed=1), small_model(seed=2)
    save_weights(tmp_path / "x.safetensors", first.state_dict(), {})
    load_into(second, load_weights(tmp_path / "x.safetensors"))
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=0)


def damage(state):
    state["alien"] = torch.zeros(1)
    for name in [n for n in state if "decoder.conv" in n]:
        del state[name]
    state["quant_conv.bias"] = torch.zeros(3)
    return state


def test_every_difference_is_reported_in_short_and_nothing_is_loaded():
    model = small_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_into(model, damage(dict(small_model(seed=1).state_dict())), "x.safetensors")
    message = str(caught.value)
    assert message.startswith("x.safetensors do not fit the model: ")
    assert (
        "4 missing (decoder.conv_in.bias, decoder.conv_in.weight, decoder.conv_out.bias, ...)"
        in (message)
    )
    assert "1 unexpected (alien)" in message
    assert "1 of another shape (quant_conv.bias (3,) instead of (8,))" in message
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.full((8,), torch.nan), "1 with values that are not finite (quant_conv.bias)"),
        (torch.full((8,), -torch.inf), "1 with values that are not finite (quant_conv.bias)"),
        (torch.ones(8, dtype=torch.int8), "1 of another kind (quant_conv.bias int8 instead of f"),
        (torch.ones(8, dtype=torch.bool), "quant_conv.bias bool instead of float32"),
        (torch.ones(8).to(torch.float8_e4m3fn), "quant_conv.bias float8_e4m3fn instead of"),
    ],
)
def test_values_that_are_no_weights_are_refused_and_nothing_is_loaded(tensor, words):
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = dict(small_model(seed=1).state_dict()) | {"quant_conv.bias": tensor}
    with pytest.raises(WeightsError) as caught:
        load_into(model, state)
    assert words in str(caught.value)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_taken(dtype):
    model = small_model()
    state = {name: tensor.to(dtype) for name, tensor in small_model(seed=1).state_dict().items()}
    load_into(model, state)
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, state[name].float(), rtol=0, atol=0)


def test_integers_stay_integers():
    codebook = EMACodebook(8, 3)
    state = dict(codebook.state_dict())
    load_into(EMACodebook(8, 3), state)
    with pytest.raises(WeightsError, match=r"another kind \(idle float32 instead of int64\)"):
        load_into(EMACodebook(8, 3), state | {"idle": state["idle"].float()})
