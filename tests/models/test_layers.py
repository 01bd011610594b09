import pytest
import torch
from torch import nn

from ct_vae.blocks.downsample import BlurDownsampleND, DownsampleND
from ct_vae.blocks.norm import AdaptiveNormND
from ct_vae.blocks.patch import PatchEmbedND, PatchUnembedND
from ct_vae.blocks.upsample import SubvoxelUpsampleND, UpsampleND
from ct_vae.config.model import ModelConfig
from ct_vae.models.layers import Layers
from tests.models._small import noise

COMMON = {"down_channels": (4, 8), "norm_groups": 2}


def layers(**numbers):
    return Layers(ModelConfig(**COMMON | numbers))


def test_ends_have_the_channels_of_image_and_latent():
    made = layers(in_channels=3, out_channels=2, z_channels=5)
    x = noise(1, 3, 4, 4, 4)
    h = made.first()(x)
    assert h.shape == (1, 4, 4, 4, 4)
    assert made.last()(h).shape == (1, 2, 4, 4, 4)
    assert made.head()(noise(1, 8, 4, 4, 4)).shape == (1, 10, 4, 4, 4)


def test_patches_replace_the_convolutions_at_the_ends():
    made = layers(down_channels=(8,), patch_size=2, linear_skip=True)
    assert isinstance(made.first(), PatchEmbedND)
    assert isinstance(made.last(), PatchUnembedND)
    x = noise(1, 1, 8, 8, 8)
    assert made.analysis()(x).shape == (1, 8, 4, 4, 4)
    assert made.synthesis()(noise(1, 4, 4, 4, 4)).shape == x.shape
    assert layers().analysis() is None
    assert layers().synthesis() is None


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ({}, nn.Identity),
        ({"tanh_out": True}, nn.Tanh),
        ({"output_activation": "sigmoid"}, nn.Sigmoid),
    ],
)
def test_the_output_has_the_chosen_activation(numbers, kind):
    assert type(layers(**numbers).output()) is kind


def test_magvit_has_its_own_normalization_and_resampling():
    plain, magvit = layers(), layers(latent_type="magvit")
    blur = layers(latent_type="magvit", downsample_mode="blur")
    assert plain.modulated_norm(8) is None
    assert isinstance(magvit.modulated_norm(8), AdaptiveNormND)
    assert isinstance(plain.upsample(1), UpsampleND)
    assert isinstance(magvit.upsample(1), SubvoxelUpsampleND)
    assert type(magvit.downsample(0)) is DownsampleND
    assert type(blur.downsample(0)) is BlurDownsampleND


@pytest.mark.parametrize("strides", [((2, 2, 1),), ((1, 2, 2),)])
def test_resampling_has_the_strides_of_its_level(strides):
    made = layers(strides=strides)
    h = made.downsample(0)(noise(1, 4, 8, 8, 8))
    assert h.shape[2:] == tuple(8 // s for s in strides[0])
    assert made.upsample(1)(noise(1, 8, *h.shape[2:])).shape[2:] == (8, 8, 8)


def test_refinement_is_an_identity_without_channels():
    x = noise(1, 1, 4, 4, 4)
    assert torch.equal(layers().refine()(x), x)
    assert layers(refine_channels=3).refine()(x).shape == x.shape
    assert isinstance(layers(head_activation=False).activation(), nn.Identity)
