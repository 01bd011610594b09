import json
import re

import pytest
import torch
from pydantic import ValidationError

from ct_vae.config.load import load_config
from ct_vae.config.model import ModelConfig
from ct_vae.errors import ConfigError


def parse(**numbers):
    return ModelConfig.model_validate_json(json.dumps(numbers))


@pytest.mark.parametrize("kind", ["kl", "vq", "magvit"])
def test_keys_and_defaults_are_those_of_the_constructor(kind):
    """A model built with every key as configured equals one built with none."""
    from ct_vae.models import VQVAE, AutoencoderKL, MagvitVQVAE, UntrainedWarning, build_untrained

    constructor = {"kl": AutoencoderKL, "vq": VQVAE, "magvit": MagvitVQVAE}[kind]
    with torch.device("meta"), pytest.warns(UntrainedWarning):
        plain = constructor(base_ch=32)
    with torch.device("meta"):
        built = build_untrained(parse(latent_type=kind, base_ch=32))
    assert type(built) is constructor
    assert built.config == plain.config
    assert {n: p.shape for n, p in built.state_dict().items()} == {
        n: p.shape for n, p in plain.state_dict().items()
    }


def test_json_arrays_become_tuples_and_come_back():
    config = parse(ch_mult=[1, 2], down_channels=[8, 16], attn_resolutions=[1, 2])
    assert (config.ch_mult, config.down_channels) == ((1, 2), (8, 16))
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_it_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        ModelConfig().base_ch = 3


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
        ({"patch_size": 0}, "greater than or equal to 1"),
        ({"patch_size": [2, 2]}, r"patch_size \[2, 2\] needs one side for each of 3 axes"),
        ({"linear_skip": True, "embed_dim": 3}, "z_channels 4 equal to embed_dim 3"),
        ({"linear_skip": True, "double_z": False}, "linear_skip needs double_z true"),
        (
            {"linear_skip": True, "down_channels": [8], "norm_groups": 1, "spatial_dims": 1},
            r"embed_dim 4 exceeds the 1 values of a block of \[1\]",
        ),
    ],
)
def test_each_mistake_is_named(numbers, words):
    with pytest.raises(ValidationError, match=words):
        parse(**numbers)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"quantizer": "ema"}, "quantizer has no effect with latent_type 'kl'"),
        (
            {"latent_type": "vq", "causal_axis": 2},
            "causal_axis has no effect with latent_type 'vq'",
        ),
        ({"latent_type": "vq", "double_z": True}, "double_z is for latent_type 'kl'"),
        ({"latent_type": "vq", "levels": [4, 4]}, "levels have no effect with quantizer 'ema'"),
        (
            {"latent_type": "magvit", "codebook_size": 512},
            "codebook_size 512 contradicts quantizer 'fsq', which has 64000 codes",
        ),
        ({"latent_type": "magvit", "embed_dim": 4}, "embed_dim 4 contradicts 6 levels"),
        (
            {"latent_type": "vq", "quantizer": "lfq", "embed_dim": 40},
            "a code has at most 24 bits",
        ),
        ({"latent_type": "vq", "codebook_size": 1}, "codebook_size is 1: a codebook has 2 to"),
        (
            {"latent_type": "magvit", "quantizer": "ema", "codebook_size": 2**24 + 1},
            "codebook_size is 16777217: a codebook has 2 to 16777216 codes",
        ),
        ({"latent_type": "magvit", "levels": [1000] * 3}, "levels give 1000000000: a codebook"),
        ({"latent_type": "vq", "quantizer": "fsq", "levels": []}, "at least 1 item"),
        ({"levels": []}, "at least 1 item"),
        (
            {"latent_type": "vq", "quantizer": "lfq", "normalize_codes": True},
            "normalize_codes has no effect",
        ),
        ({"latent_type": "vq", "quantizer": "lfq", "codebook_size": 8}, "which has 65536 codes"),
        ({"norm": "rms", "norm_groups": 4}, "norm_groups has no effect with norm 'rms'"),
        ({"strides": [2, 2]}, "strides has 2 steps, 4 levels need 3"),
        ({"strides": [2, [2, 1], 2]}, "for each of 3 axes"),
        ({"strides": [2, 1, 2]}, "not all of them 1"),
        ({"num_res_blocks": [1, 2]}, "num_res_blocks has 2 entries, there are 4 levels"),
        ({"latent_type": "magvit", "causal_axis": 2}, "needs norm 'rms' or 'layer'"),
        (
            {
                "latent_type": "magvit",
                "causal_axis": 2,
                "norm": "rms",
                "mid_attn": False,
                "spatial_dims": 2,
            },
            "causal_axis 2 is not one of the 2 axes",
        ),
    ],
)
def test_what_contradicts_the_kind_is_refused(numbers, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        parse(**numbers)


def test_what_is_wrong_with_codes_has_its_path(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"model": {"latent_type": "vq", "codebook_size": 1}}))
    with pytest.raises(ConfigError, match=r"x\.json: model: codebook_size is 1"):
        load_config(path)
    path.write_text(json.dumps({"model": {"latent_type": "magvit", "levels": []}}))
    with pytest.raises(ConfigError, match=r"x\.json: model\.levels: .*at least 1 item"):
        load_config(path)
