import pytest
import torch

from ct_vae.bundle import DecoderNet, EncoderNet, ReconstructionNet, build_part
from ct_vae.bundle.network import part_of
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError
from ct_vae.preprocess.hu_scale import HounsfieldScale
from tests._small import SMALL_CODES, SMALL_MODEL, small_codec, small_model
from tests._small import ct_volume as volume_of

KINDS = {"kl": SMALL_MODEL, **SMALL_CODES}
STEPS = PreprocessConfig()


@pytest.mark.parametrize("kind", KINDS)
def test_reconstruction_in_hu_is_that_of_the_codec(kind):
    codec = small_codec(base=KINDS[kind])
    volume = volume_of((12, 8, 16))
    network = part_of("reconstruct", small_model(base=KINDS[kind]), STEPS)
    image = torch.from_numpy(volume.voxels).float()[None, None]
    with torch.no_grad():
        once, again = network(image), network(image)
    expected = torch.from_numpy(codec.reconstruct(volume).voxels)
    assert once.equal(again)
    assert (once[0, 0] - expected).abs().max() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_decoder_after_encoder_is_the_reconstruction(kind):
    model = small_model(base=KINDS[kind])
    parts = [part_of(p, model, STEPS) for p in ("reconstruct", "encode", "decode")]
    image = parts[0].example((2, 3, 2))
    with torch.no_grad():
        whole, latent = parts[0](image), parts[1](image)
        assert parts[2](latent).equal(whole)
    assert latent.shape == (1, model.latent_channels, 2, 3, 2)
    assert [type(p) for p in parts] == [ReconstructionNet, EncoderNet, DecoderNet]
    assert parts[0].state_dict().keys() == parts[2].state_dict().keys()


def test_without_a_scale_images_are_in_model_units():
    model = small_model().eval()
    scale = HounsfieldScale((-1000.0, 1000.0), (-1.0, 1.0))
    in_hu, in_units = ReconstructionNet(model, scale), ReconstructionNet(model)
    image = in_hu.example((2, 2, 2))
    with torch.no_grad():
        units = in_units(image / 1000)
        assert torch.allclose(in_hu(image), units.clamp(-1, 1) * 1000, atol=0.01)


def test_a_gray_value_goes_into_every_channel_and_comes_out_as_a_mean():
    model = small_model(in_channels=3, out_channels=3).eval()
    network = part_of("reconstruct", model, STEPS)
    image = network.example((2, 2, 2))
    with torch.no_grad():
        expected = model.decode(model.encode(image.expand(-1, 3, -1, -1, -1) / 1000).mode())
        found = network(image)
    assert found.shape == image.shape
    assert torch.allclose(found, expected.mean(1, keepdim=True).clamp(-1, 1) * 1000, atol=0.01)


def test_build_part_takes_the_sections_of_a_configuration():
    network = build_part(
        "decode", SMALL_MODEL.model_dump(mode="json"), {"window_hu": [-500.0, 500.0]}
    )
    assert isinstance(network, DecoderNet)
    assert network.scale.window_hu == (-500.0, 500.0)
    assert not network.training
    with pytest.raises(ConfigError, match="a part is reconstruct, encode, decode, got 'whole'"):
        build_part("whole", SMALL_MODEL.model_dump(mode="json"))
