import pytest

from ct_vae.errors import ConfigError
from ct_vae.models import VQVAE, AutoencoderKL, MagvitVQVAE
from ct_vae.models.choices import Choices, entries
from ct_vae.models.shape import shape_of
from tests.models._small import small_model

TINY = {"base_ch": 8, "ch_mult": (1, 2), "resolution": 16}


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        (AutoencoderKL, {"base_chs": 3}, "AutoencoderKL takes no base_chs, did you mean base_ch"),
        (AutoencoderKL, {"causal_axis": 0}, "AutoencoderKL takes no causal_axis"),
        (AutoencoderKL, {"quantizer": "fsq"}, "AutoencoderKL takes no quantizer"),
        (AutoencoderKL, {"stage_2_input": "mean"}, "did you mean stage_2_inputs"),
        (VQVAE, {"downsample_mode": "blur"}, "VQVAE takes no downsample_mode"),
        (VQVAE, {"stage_2_inputs": "mean"}, "VQVAE takes no stage_2_inputs; leave it out"),
        (MagvitVQVAE, {"chekpointing": True}, "no chekpointing, did you mean checkpointing"),
        (MagvitVQVAE, {"upsample_mode": "nearest"}, "'nearest' is not for MagvitVQVAE"),
        (AutoencoderKL, {"choices": 1}, "AutoencoderKL takes no choices"),
        (AutoencoderKL, {"upsample_mode": "subvoxel"}, "nearest or linear, got 'subvoxel'"),
        (VQVAE, {"upsample_mode": "subvoxel"}, "nearest or linear, got 'subvoxel'"),
    ],
)
def test_a_keyword_that_a_kind_does_not_take_is_refused(kind, numbers, words):
    with pytest.raises(ConfigError, match=words):
        kind(**TINY, **numbers)


def test_the_first_of_several_is_named_whatever_their_order():
    with pytest.raises(ConfigError, match="takes no aa"):
        AutoencoderKL(**TINY, **{letter + letter: None for letter in "zyxwvutsrqponmlkjihgfedcba"})


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
    assert given.keys() == Choices.__annotations__.keys()
    if kind is MagvitVQVAE:
        for name in ("upsample_mode", "patch_size", "linear_skip", "refine_channels"):
            del given[name]
    with pytest.warns(UserWarning, match="random weights"):
        model = kind(**TINY, **given)
    for name in ("encoder_mid", "decoder_mid", "head_activation", "checkpointing"):
        assert getattr(model.shape, name) == given[name]
    assert not model.shape.style.inner_norm
    assert (model.shape.style.norm, model.shape.style.padding_mode) == ("layer", "replicate")


@pytest.mark.parametrize(
    ("one", "each"),
    [
        ({"strides": 2}, {"strides": (2, 2)}),
        ({"attn_resolutions": 2}, {"attn_resolutions": (2,)}),
        ({"num_res_blocks": 2}, {"num_res_blocks": [2, 2, 2]}),
        ({"decoder_blocks": 2}, {"decoder_blocks": [2, 2, 2]}),
    ],
)
def test_one_number_stands_for_every_level(one, each):
    levels = {"ch_mult": (1, 1, 2)}
    assert small_model(**levels, **one).shape == small_model(**levels, **each).shape


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        (AutoencoderKL, {"ch_mult": 2}, "ch_mult is a list of numbers, got 2; put it into"),
        (AutoencoderKL, {"down_channels": 8}, "down_channels is a list of numbers, got 8"),
        (AutoencoderKL, {"strides": 3}, "stride of 1 or 2"),
        (AutoencoderKL, {"strides": "22"}, "strides is a list of numbers, got '22'"),
        (AutoencoderKL, {"strides": (2, 2)}, "strides has 2 steps, 2 levels need 1"),
        (AutoencoderKL, {"attn_resolutions": 3}, r"attn_resolutions \[3\] do not occur"),
        (AutoencoderKL, {"attn_resolutions": 2.0 + 0j}, "attn_resolutions is a list"),
        (AutoencoderKL, {"num_res_blocks": None}, "num_res_blocks is a list of numbers, got None"),
        (VQVAE, {"quantizer": "fsq", "levels": 4}, "levels is a list of numbers, got 4"),
        (VQVAE, {"quantizer": "fsq", "levels": ()}, "at least 2 levels in each channel"),
        (VQVAE, {"levels": 4}, "levels is a list of numbers, got 4"),
    ],
)
def test_a_number_in_the_place_of_a_list_is_refused_on_one_line(kind, numbers, words):
    with pytest.raises(ConfigError, match=words) as caught:
        kind(**(TINY | numbers))
    assert "\n" not in str(caught.value)


def test_lists_become_tuples():
    assert entries("x", [1, 2]) == entries("x", range(1, 3)) == (1, 2)
    with pytest.raises(ConfigError, match="x is a list of numbers"):
        entries("x", {"a": 1})


def test_two_levels_need_no_stride_to_be_told():
    numbers = (3, 8, (1, 2, 2), None, 1, (), True, None, 0.0)
    assert shape_of(*numbers, {}).steps == ((2, 2, 2), (2, 2, 2))
