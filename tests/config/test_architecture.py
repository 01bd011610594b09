import json
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.config.architecture import Architecture, factors_of
from ct_vae.config.model import ModelConfig


def parse(**numbers):
    return ModelConfig.model_validate_json(json.dumps(numbers))


@pytest.mark.parametrize(
    ("numbers", "factor", "widths", "stem"),
    [
        ({}, (8, 8, 8), (128, 256, 512, 512), 128),
        ({"spatial_dims": 2, "base_ch": 8, "ch_mult": [1, 3]}, (2, 2), (8, 24), 8),
        ({"down_channels": [64, 128, 256]}, (4, 4, 4), (64, 128, 256), 64),
        ({"spatial_dims": 1, "base_ch": 8, "ch_mult": [2]}, (1,), (16,), 8),
        ({"down_channels": [96], "patch_size": 4}, (4, 4, 4), (96,), 96),
        ({"down_channels": [8, 9], "patch_size": [4, 4, 1]}, (8, 8, 2), (8, 9), 8),
    ],
)
def test_factor_and_widths_follow(numbers, factor, widths, stem):
    config = parse(**numbers)
    assert (config.factor, config.widths, config.conv_in_channels) == (factor, widths, stem)


def test_the_latent_is_as_wide_as_the_embedding():
    assert parse(embed_dim=7, z_channels=3).latent_channels == 7


def test_strides_of_their_own_give_the_factor():
    assert parse(strides=[[2, 2, 1], 2, [1, 2, 2]]).factor == (4, 8, 4)


@given(
    dims=st.integers(1, 3),
    steps=st.lists(st.integers(1, 2), max_size=4),
    patch=st.integers(1, 4),
)
def test_factors_are_running_products_of_patch_and_strides(dims, steps, patch):
    found = factors_of([(step,) * dims for step in steps], (patch,) * dims)
    expected = [patch * prod(steps[:n]) for n in range(len(steps) + 1)]
    assert found == tuple((factor,) * dims for factor in expected)


@given(blocks=st.lists(st.integers(1, 4), min_size=3, max_size=3))
def test_blocks_per_level_are_one_number_or_one_each(blocks):
    config = Architecture(down_channels=(8, 8, 8), num_res_blocks=tuple(blocks))
    assert config.encoder_blocks == tuple(blocks)
    assert config.decoder_level_blocks == tuple(n + 1 for n in blocks)
    same = Architecture(down_channels=(8, 8, 8), num_res_blocks=2, decoder_blocks=tuple(blocks))
    assert same.encoder_blocks == (2, 2, 2)
    assert same.decoder_level_blocks == tuple(blocks)


def test_attention_is_at_the_levels_with_these_factors():
    config = Architecture(ch_mult=(1, 2, 4, 4), attn_resolutions=(2, 8))
    assert config.level_attention == (False, True, False, True)
    assert Architecture(attn_resolutions=4).attention_factors == (4,)
    assert config.middle_attends
    assert not Architecture(encoder_mid=False, decoder_mid=False).middle_attends


def test_compression_counts_image_values_per_stored_value():
    assert Architecture(down_channels=(8, 8, 8), embed_dim=4).compression == 16
    codes = Architecture(latent_type="vq", down_channels=(8, 8, 8), embed_dim=8, double_z=False)
    assert (codes.compression, codes.feature_channels, codes.encoder_channels) == (64, 8, 4)
    assert Architecture(embed_dim=3, z_channels=5).feature_channels == 6
    assert Architecture(embed_dim=3, z_channels=5).encoder_channels == 10
