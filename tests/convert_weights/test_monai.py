"""Against MONAI's AutoencoderKL and AutoencoderKlMaisi."""

import pytest
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

from ct_vae.convert_weights import export_weights, import_weights, interpret
from ct_vae.errors import ConfigError, WeightsError
from tests.convert_weights._monai import SHAPES, arguments, assert_agree, maisi, monai
from tests.models._small import small_model


def assert_comes_back(ours, theirs, form, given):
    state, config = export_weights(ours, form)
    expected = theirs.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    for key in config.keys() & given.keys():
        value = given[key]
        assert config[key] == (list(value) if isinstance(value, tuple) else value), key
    again = type(theirs)(**config)
    again.load_state_dict(state)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_monai_gives_the_same_and_comes_back_unchanged(dims, shape):
    theirs, given = monai(dims, shape)
    ours = import_weights(theirs.state_dict(), given)
    assert_agree(ours, theirs, 1e-5)
    assert_comes_back(ours, theirs, "monai", given)


@pytest.mark.parametrize("shape", SHAPES)
def test_maisi_gives_the_same_and_comes_back_unchanged(shape):
    theirs, given = maisi(shape)
    ours = import_weights(theirs.state_dict(), given)
    assert_agree(ours, theirs, 1e-5)
    assert_comes_back(ours, theirs, "maisi", given)


@pytest.mark.parametrize(
    "more",
    [
        {"use_flash_attention": True},
        {"include_fc": False},
        {"channels": (8, 16, 24), "attention_levels": (False, True, True), "num_res_blocks": 1},
        {"channels": (16, 8), "in_channels": 1, "latent_channels": 3, "norm_num_groups": 8},
    ],
)
def test_variants_of_monai_give_the_same_and_come_back_unchanged(more):
    theirs, given = monai(2, SHAPES[1], **more)
    ours = import_weights(theirs.state_dict(), given)
    assert_agree(ours, theirs, 1e-5)
    given["num_res_blocks"] = (1,) * len(given["channels"])
    assert_comes_back(ours, theirs, "monai", given)


def test_in_float64_they_agree_more_closely():
    theirs, given = monai(3, SHAPES[2])
    ours = import_weights(theirs.double().state_dict(), given)
    assert_agree(ours, theirs, 1e-12, torch.float64)
    assert_comes_back(ours, theirs, "monai", given)


def test_maisi_with_last_layers_of_attention_keeps_them():
    theirs, given = maisi(SHAPES[2], include_fc=True)
    ours = import_weights(theirs.state_dict(), given)
    assert_agree(ours, theirs, 1e-5)
    assert_comes_back(ours, theirs, "maisi", given)


@pytest.mark.parametrize("make", [monai, maisi])
def test_without_a_configuration_the_groups_would_be_guessed(make):
    theirs, _ = make()
    with pytest.raises(WeightsError, match=r"number of groups.*norm_num_groups"):
        import_weights(theirs.state_dict())


@pytest.mark.parametrize("make", [monai, maisi])
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("spatial_dims", 1, "spatial_dims is 1 in the configuration and 3 in the weights"),
        ("attention_levels", (True, False), "attention_levels is"),
        ("num_res_blocks", (2, 2), r"num_res_blocks is \[2, 2\].*\[1, 2\]"),
        ("num_res_blocks", 2, r"num_res_blocks is"),
        ("with_encoder_nonlocal_attn", False, "with_encoder_nonlocal_attn is False"),
        ("with_decoder_nonlocal_attn", False, "with_decoder_nonlocal_attn is False"),
        ("latent_channels", 4, "latent_channels is 4"),
        ("norm_eps", 1e-5, "norm_eps 1e-05"),
        ("norm_num_groups", "@groups", "norm_num_groups is a positive integer"),
        ("use_convtranspose", True, "use_convtranspose True"),
        ("_target_", "monai.networks.nets.VQVAE", "the configuration is of VQVAE"),
        ("frobnicate", 1, "has unknown keys: frobnicate"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(make, key, value, words):
    theirs, given = make()
    with pytest.raises(WeightsError, match=words):
        import_weights(theirs.state_dict(), given | {key: value})


def test_maisi_has_three_dimensions():
    flat = AutoencoderKlMaisi(**arguments(2, *SHAPES[0], num_channels=(8, 16)))
    with pytest.raises(WeightsError, match="MAISI networks have 3 dimensions, these weights 2"):
        import_weights(flat.state_dict(), {"norm_num_groups": 4})


def test_half_precision_norms_of_maisi_are_said():
    theirs, given = maisi()
    imported = interpret(theirs.state_dict(), given | {"norm_float16": True})
    assert any("norm_float16" in line for line in imported.statements)
    assert any("linear upsampling" in line for line in imported.statements)


MONAI_LIKE = {"double_z": False, "head_activation": False, "decoder_blocks": 1, "mid_attn": True}


@pytest.mark.parametrize("form", ["monai", "maisi"])
@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"head_activation": True}, "head_activation true"),
        ({"decoder_blocks": 2}, r"decoder_blocks \(2, 2\) other than the encoder's \(1, 1\)"),
        ({"double_z": True}, "double_z true"),
        ({"mid_attn": False}, "a middle without attention"),
        ({"strides": ((2, 2, 1),)}, "strides other than 2"),
        ({"norm": "rms", "norm_groups": None}, "norm 'rms'"),
        ({"embed_dim": 2}, "embed_dim 2"),
        ({"ch_mult": (2, 2)}, "a first convolution of 8"),
        ({"tanh_out": True}, "tanh_out"),
    ],
)
def test_what_they_do_not_have_is_named(form, numbers, words):
    mode = "linear" if form == "maisi" else "nearest"
    model = small_model(**(MONAI_LIKE | {"upsample_mode": mode} | numbers))
    with pytest.raises(ConfigError, match=words):
        export_weights(model, form)


def test_upsampling_decides_between_them():
    nearest, linear = (small_model(**MONAI_LIKE, upsample_mode=m) for m in ("nearest", "linear"))
    with pytest.raises(ConfigError, match="upsample_mode 'linear'"):
        export_weights(linear, "monai")
    with pytest.raises(ConfigError, match="upsample_mode 'nearest'"):
        export_weights(nearest, "maisi")
    flat = small_model(**MONAI_LIKE, upsample_mode="linear", spatial_dims=2)
    with pytest.raises(ConfigError, match="spatial_dims 2"):
        export_weights(flat, "maisi")
