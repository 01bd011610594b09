import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from ct_vae.bundle.network import part_of
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, InputError
from ct_vae.grid import Grid
from ct_vae.inference.exact_inferer import ExactInferer
from tests._asserts import assert_close
from tests._small import SMALL_CODES, SMALL_MODEL, small_model


@pytest.mark.parametrize("part", ["reconstruct", "encode", "decode"])
@pytest.mark.parametrize("base", [SMALL_MODEL, SMALL_CODES["magvit"]], ids=["kl", "magvit"])
def test_it_gives_what_the_network_gives_for_the_whole(part, base):
    network = part_of(part, small_model(base=base), PreprocessConfig())
    images = torch.cat([network.example((3, 2, 4)), network.example((3, 2, 4)).flip(2)])
    inferer = ExactInferer()
    assert isinstance(inferer, Inferer)
    with torch.no_grad():
        expected = network(images)
    assert torch.allclose(inferer(images, network), expected, rtol=1e-4, atol=1e-2)


def test_automatic_mixed_precision_costs_precision_and_no_more():
    network = part_of("reconstruct", small_model(), PreprocessConfig())
    image = network.example((5, 3, 4))
    with torch.no_grad():
        expected = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        result = ExactInferer()(image, network)
    assert result.dtype == torch.float32
    assert_close(result, expected, 0.03)


def test_a_2d_network_takes_a_volume_slice_by_slice():
    network = part_of("reconstruct", small_model(spatial_dims=2), PreprocessConfig())
    image = 500 * torch.randn(1, 1, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        slices = torch.stack([network(image[..., i]) for i in range(3)], dim=-1)
    assert torch.allclose(ExactInferer()(image, network), slices, atol=1e-2)


def test_results_are_where_they_belong():
    affine = np.diag([2.0, 3.0, -4.0, 1.0])
    affine[:3, 3] = 5, -7, 11
    encoder, decoder = (part_of(p, small_model(), PreprocessConfig()) for p in ("encode", "decode"))
    image = MetaTensor(encoder.example((2, 3, 2)), affine=torch.tensor(affine))
    latent = ExactInferer()(image, encoder)
    grid = Grid((8, 12, 8), affine)
    assert np.allclose(latent.affine, grid.coarsen(4).affine)
    assert np.allclose(ExactInferer()(latent, decoder).affine, affine)


def test_what_cannot_be_taken_half_by_half_is_refused():
    with pytest.raises(ConfigError, match=r"takes inputs and a network of ct_vae.bundle"):
        ExactInferer()(torch.zeros(1, 1, 8, 8, 8), torch.nn.Identity())


def test_arguments_that_nobody_would_look_at_are_refused():
    network = part_of("encode", small_model(), PreprocessConfig())
    image = network.example((2, 2, 2))
    for args, kwargs in (((1,), {}), ((), {"condition": 1})):
        with pytest.raises(ConfigError, match="nothing more"):
            ExactInferer()(image, network, *args, **kwargs)


@pytest.mark.parametrize("base", [SMALL_MODEL, SMALL_CODES["magvit"]], ids=["kl", "magvit"])
def test_a_network_in_training_goes_on_training(base):
    network = part_of("reconstruct", small_model(base=base), PreprocessConfig()).train()
    # Part of it is frozen.
    network.model.encoder.eval()
    image = network.example((2, 2, 2))
    before = [module.training for module in network.modules()]
    result = ExactInferer()(image, network)
    assert [module.training for module in network.modules()] == before
    assert not result.is_inference()
    network(image).sum().backward()
    assert all(p.grad is not None for p in network.model.decoder.parameters())


@pytest.mark.parametrize("method", ["exact", "whole", "blend"])
def test_sides_that_do_not_fit_are_refused_and_not_cropped(method):
    network = part_of("reconstruct", small_model(), PreprocessConfig())
    with pytest.raises(
        InputError, match=r"\(9, 8, 8\) are not multiples of the factor \(4, 4, 4\)"
    ):
        ExactInferer(method)(torch.zeros(1, 1, 9, 8, 8), network)


def test_what_it_cannot_do_is_refused_in_words():
    color = part_of("encode", small_model(in_channels=3), PreprocessConfig(), hounsfield=False)
    with pytest.raises(ConfigError, match="images of one channel, not 3"):
        ExactInferer()(torch.zeros(1, 3, 8, 8, 8), color)
    with pytest.raises(ConfigError, match="tiling is exact, blend, whole, got 'nope'"):
        ExactInferer("nope")
