import inspect
import json

import pytest
from pydantic import ValidationError

from ct_vae.config.model import ModelConfig


def parse(**numbers):
    return ModelConfig.model_validate_json(json.dumps(numbers))


def test_keys_and_defaults_are_those_of_the_constructor():
    from ct_vae.models import AutoencoderKL

    numbers = ModelConfig().model_dump(exclude={"latent_type"})
    parameters = inspect.signature(AutoencoderKL).parameters
    assert numbers == {name: p.default for name, p in parameters.items()}


def test_json_arrays_become_tuples_and_come_back():
    config = parse(ch_mult=[1, 2], down_channels=[8, 16], attn_resolutions=[1, 2])
    assert (config.ch_mult, config.down_channels) == ((1, 2), (8, 16))
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_it_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        ModelConfig().base_ch = 3


@pytest.mark.parametrize(
    ("numbers", "factor", "widths", "stem"),
    [
        ({}, (8, 8, 8), (128, 256, 512, 512), 128),
        ({"spatial_dims": 2, "base_ch": 8, "ch_mult": [1, 3]}, (2, 2), (8, 24), 8),
        ({"down_channels": [64, 128, 256]}, (4, 4, 4), (64, 128, 256), 64),
        ({"spatial_dims": 1, "base_ch": 8, "ch_mult": [2]}, (1,), (16,), 8),
    ],
)
def test_factor_and_widths_follow(numbers, factor, widths, stem):
    config = parse(**numbers)
    assert (config.factor, config.widths, config.stem) == (factor, widths, stem)


def test_the_latent_is_as_wide_as_the_embedding():
    assert parse(embed_dim=7, z_channels=3).latent_channels == 7


def test_a_codebook_size_is_accepted():
    assert parse(codebook_size=512).factor == parse().factor


def test_a_resolved_configuration_can_be_read_again():
    config = parse(down_channels=[64, 128, 256])
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"latent_type": "gan"}, "'kl'"),
        ({"spatial_dims": 4}, "1, 2 or 3"),
        ({"base_ch": 0}, "greater than 0"),
        ({"base_ch": "8"}, "valid integer"),
        ({"base_ch": 8.5}, "valid integer"),
        ({"ch_mult": []}, "at least 1 item"),
        ({"ch_mult": [1, 0]}, "greater than 0"),
        ({"down_channels": []}, "at least 1 item"),
        ({"num_res_blocks": 0}, "greater than 0"),
        ({"embed_dim": -1}, "greater than 0"),
        ({"dropout": 1}, "less than 1"),
        ({"mid_attn": 1}, "valid boolean"),
        ({"attn_resolutions": [3]}, r"\[3\] do not occur.*\[1, 2, 4, 8\]"),
        ({"attn_resolutions": [8], "ch_mult": [1, 2]}, r"\[8\] do not occur"),
        ({"norm_groups": 48}, r"48 does not divide the widths \[128, 128, 256, 512, 512\]"),
        ({"norm_groups": 3, "base_ch": 8, "ch_mult": [3]}, r"widths \[8\]"),
        ({"resolution": 100}, "resolution 100 is not a multiple of the factor 8"),
        ({"ch_mult": [1, 2], "down_channels": [8, 8, 8]}, "3 levels and ch_mult 2"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_each_mistake_is_named(numbers, words):
    with pytest.raises(ValidationError, match=words):
        parse(**numbers)
