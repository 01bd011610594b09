import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from ct_vae.errors import ConfigError, InputError
from ct_vae.losses.vgg import VGG16, load_vgg16
from tests.losses._vgg import random_vgg16, torchvision_state

# torchvision's numbers of the convolutions before each pooling.
STAGES = [(0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)]


@pytest.fixture(scope="module")
def network() -> VGG16:
    return random_vgg16()


def test_features_are_those_of_the_published_layers(network):
    x = torch.rand(2, 3, 33, 16, generator=torch.Generator().manual_seed(0))
    state = torchvision_state(network)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    h = (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    expected = []
    for stage in STAGES:
        h = functional.max_pool2d(h, 2) if expected else h
        for n in stage:
            weight, bias = state[f"features.{n}.weight"], state[f"features.{n}.bias"]
            h = functional.conv2d(h, weight, bias, padding=1).relu()
        expected.append(h)
    found = network(x)
    assert [f.shape[1] for f in found] == [64, 128, 256, 512, 512]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_it_is_frozen_and_stays_in_evaluation(network):
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(module.training for module in network.modules())
    assert sum(p.numel() for p in network.features.parameters()) == 14_714_688


@pytest.mark.parametrize("name", ["vgg.safetensors", "vgg.pth"])
def test_weights_come_from_a_local_file(tmp_path, network, name):
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(torchvision_state(network), path)
    loaded = load_vgg16(path)
    for a, b in zip(loaded.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(weights, torch.ones_like(weights)) for weights in loaded.lin)
    assert not any(p.requires_grad for p in loaded.parameters())


def test_linear_layers_are_taken_where_there_are_any(tmp_path, network):
    state = torchvision_state(network, lin=True)
    save_file(state, tmp_path / "lpips.safetensors")
    loaded = load_vgg16(tmp_path / "lpips.safetensors")
    for i, weights in enumerate(loaded.lin):
        assert torch.equal(weights, state[f"lin{i}.model.1.weight"].flatten())


def test_a_missing_file_is_named_together_with_the_key(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_vgg16(tmp_path / "absent.pth")
    assert "training.perceptual_weights_path" in caught.value.cause
    assert "absent.pth: no such file" in caught.value.cause
    assert "nothing is downloaded" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("features.28.bias"), r"1 missing \(features.28.bias\)"),
        (lambda s: s.update({"features.30.weight": torch.zeros(1)}), r"1 unexpected"),
        (lambda s: s.update({"features.0.bias": torch.zeros(3)}), r"features.0.bias \(3,\)"),
        (lambda s: s.pop("lin2.model.1.weight"), r"1 missing \(lin.2\)"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, network, change, message):
    state = torchvision_state(network, lin=True)
    change(state)
    save_file(state, tmp_path / "vgg.safetensors")
    with pytest.raises(ConfigError, match=message) as caught:
        load_vgg16(tmp_path / "vgg.safetensors")
    assert caught.value.cause.startswith("training.perceptual_weights_path: ")
    assert "torchvision" in caught.value.hint


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "vgg.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"perceptual_weights_path: .*not a readable"):
        load_vgg16(tmp_path / "vgg.safetensors")


@pytest.mark.parametrize("sides", [(15, 64), (64, 8)])
def test_slices_that_are_too_small_are_refused(network, sides):
    with pytest.raises(InputError, match="at least 16 x 16 voxels"):
        network(torch.zeros(1, 3, *sides))
