import json

import numpy as np
import pytest
import torch

from ct_vae.config.load import load_config
from ct_vae.errors import ConfigError
from ct_vae.models import VQVAE, AutoencoderKL, MagvitVQVAE
from ct_vae.models.architecture_options import ArchitectureOptions
from tests.models._small import small_model

TINY = {"base_ch": 8, "ch_mult": (1, 2), "resolution": 16}


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        (
            AutoencoderKL,
            {"base_chs": 3},
            "AutoencoderKL: base_chs is not a known key, did you mean",
        ),
        (AutoencoderKL, {"causal_axis": 0}, "causal_axis has no effect with latent_type 'kl'"),
        (AutoencoderKL, {"quantizer": "fsq"}, "quantizer has no effect with latent_type 'kl'"),
        (AutoencoderKL, {"stage_2_input": "mean"}, "did you mean stage_2_inputs"),
        (AutoencoderKL, {"int": 1}, "int is not a known key"),
        (VQVAE, {"downsample_mode": "blur"}, "downsample_mode has no effect with"),
        (VQVAE, {"stage_2_inputs": "sample"}, "stage_2_inputs has no effect with"),
        (VQVAE, {"latent_type": "kl"}, "latent_type 'kl' does not match VQVAE; use AutoencoderKL"),
        (MagvitVQVAE, {"chekpointing": True}, "chekpointing is not a known key, did you mean"),
        (MagvitVQVAE, {"upsample_mode": "linear"}, "upsample_mode has no effect with"),
        (MagvitVQVAE, {"patch_size": 2}, "patch_size has no effect with latent_type 'magvit'"),
        (AutoencoderKL, {"upsample_mode": "subvoxel"}, "'nearest' or 'linear', got \"subvoxel\""),
    ],
)
def test_a_keyword_that_a_kind_does_not_take_is_refused(kind, numbers, words):
    with pytest.raises(ConfigError, match=words):
        kind(**TINY, **numbers)


KINDS = {"kl": AutoencoderKL, "vq": VQVAE, "magvit": MagvitVQVAE}


@pytest.mark.parametrize("name", ["kl_f4", "kl_f8", "vq_f4", "magvit_f8", "quickstart", "sd_2d"])
def test_a_resolved_section_of_a_configuration_is_taken_by_the_class_it_describes(repository, name):
    config = load_config(repository / "configs" / f"{name}.json").model
    section = json.loads(config.model_dump_json())
    with torch.device("meta"), pytest.warns(UserWarning, match="random weights"):
        model = KINDS[config.latent_type](**section)
    assert model.config == config


# Options of one kind each.
OWN = {
    *("stage_2_inputs", "quantizer", "levels", "codebook_decay", "normalize_codes"),
    *("causal_axis", "downsample_mode", "latent_type"),
}


@pytest.mark.parametrize("kind", [AutoencoderKL, VQVAE, MagvitVQVAE])
def test_every_choice_is_taken(kind):
    given = {
        "norm": "layer",
        "inner_norm": False,
        "strides": ((2, 1, 1),),
        "padding_mode": "replicate",
        "decoder_blocks": 1,
        "encoder_mid": False,
        "decoder_mid": False,
        "head_activation": False,
        "upsample_mode": "linear",
        "checkpointing": True,
        "output_activation": "sigmoid",
        "patch_size": 2,
        "linear_skip": True,
        "refine_channels": 2,
    }
    assert given.keys() == ArchitectureOptions.__annotations__.keys() - OWN
    if kind is MagvitVQVAE:
        for name in ("upsample_mode", "patch_size", "linear_skip", "refine_channels"):
            del given[name]
    with pytest.warns(UserWarning, match="random weights"):
        model = kind(**TINY, **given)
    for name, value in given.items():
        assert getattr(model.config, name) == value


@pytest.mark.parametrize(
    ("one", "each"),
    [
        ({"strides": 2}, {"strides": (2, 2)}),
        ({"attn_resolutions": 2}, {"attn_resolutions": (2,)}),
        ({"num_res_blocks": 2}, {"num_res_blocks": [2, 2, 2]}),
        ({"decoder_blocks": 2}, {"decoder_blocks": [2, 2, 2]}),
    ],
)
def test_one_number_represents_every_level(one, each):
    levels = {"ch_mult": (1, 1, 2)}
    assert str(small_model(**levels, **one)) == str(small_model(**levels, **each))


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        (AutoencoderKL, {"ch_mult": 2}, "ch_mult: Input should be a list of numbers, got 2"),
        (
            AutoencoderKL,
            {"down_channels": 8},
            "down_channels: Input should be a list of numbers, got 8",
        ),
        (
            AutoencoderKL,
            {"strides": 3},
            "strides: Input should be less than or equal to 2 or a list",
        ),
        (
            AutoencoderKL,
            {"strides": "22"},
            "strides: Input should be a valid integer or a list of numbers, got",
        ),
        (AutoencoderKL, {"strides": (2, 2)}, "strides has 2 steps, 2 levels need 1"),
        (AutoencoderKL, {"attn_resolutions": 3}, r"attn_resolutions \[3\] do not occur"),
        (
            AutoencoderKL,
            {"attn_resolutions": 2.0 + 0j},
            "attn_resolutions: Input should be a valid integer or a list",
        ),
        (
            AutoencoderKL,
            {"num_res_blocks": None},
            "num_res_blocks: Input should be a valid integer or a list of",
        ),
        (
            VQVAE,
            {"quantizer": "fsq", "levels": 4},
            "levels: Input should be a list of numbers, got 4",
        ),
        (VQVAE, {"quantizer": "fsq", "levels": ()}, "levels: List should have at least 1 item"),
        (VQVAE, {"levels": 4}, "levels: Input should be a list of numbers, got 4"),
    ],
)
def test_a_number_in_the_place_of_a_list_is_refused_on_one_line(kind, numbers, words):
    with pytest.raises(ConfigError, match=words) as caught:
        kind(**(TINY | numbers))
    assert "\n" not in str(caught.value)


def test_numbers_and_lists_of_any_kind_are_taken():
    model = small_model(
        ch_mult=np.array([1, 2]),
        base_ch=np.int64(8),
        dropout=np.float32(0.25),
        strides=[[2, 2, 1]],
        attn_resolutions=range(1, 3),
    )
    plain = small_model(dropout=0.25, strides=((2, 2, 1),), attn_resolutions=(1, 2))
    assert model.config == plain.config


def test_channels_of_levels_replace_multiples():
    assert small_model(ch_mult=(1, 2), down_channels=(8, 8, 8)).config.widths == (8, 8, 8)


def test_two_levels_need_no_stride_to_be_given():
    assert small_model(ch_mult=(1, 2, 2)).config.level_strides == ((2, 2, 2), (2, 2, 2))
