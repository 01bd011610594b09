"""Against a banal latent-diffusion network."""

import pytest
import torch

from ct_vae.convert_weights import export_weights, import_weights, interpret
from ct_vae.errors import ConfigError, WeightsError
from tests._asserts import assert_close
from tests.models._latent_diffusion import LatentDiffusion, stable_diffusion_checkpoint
from tests.models._small import noise, randomise, small_model


def network(**numbers):
    model = LatentDiffusion(**numbers)
    randomise(model)
    return model.eval()


def assert_same_tensors(result, expected):
    assert result.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(result[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"ch_mult": (1, 2, 2), "attends": [False, True, True], "image": 1, "blocks": 2},
        {"ch_mult": (2, 1), "z": 3, "embed": 2},
        {"ch_mult": (1, 1, 2, 2), "mid_attn": False},
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_a_network_gives_the_same_and_comes_back_unchanged(numbers, dtype):
    theirs = network(**numbers).to(dtype)
    ours = import_weights(theirs.state_dict())
    x = noise(1, numbers.get("image", 3), 32, 16).to(dtype)
    z = noise(1, numbers.get("embed", 4), 3, 2).to(dtype)
    relative = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(ours.moments(x), theirs.moments(x), relative)
    assert_close(ours.decode(z), theirs.decode(z), relative)
    state, config = export_weights(ours, "compvis")
    assert_same_tensors(state, theirs.state_dict())
    assert import_weights(state, config).out_channels == ours.out_channels


def test_a_whole_checkpoint_gives_its_first_stage_and_its_scale():
    theirs = network()
    imported = interpret(stable_diffusion_checkpoint(theirs))
    assert_same_tensors(dict(imported.model.state_dict()), theirs.state_dict())
    assert imported.model.scaling_factor == 0.25
    told = "\n".join(imported.statements)
    assert "with the prefix first_stage_model." in told
    assert "model (1), cond_stage_model (1)" in told
    assert "model_ema (1)" in told


def test_the_training_loss_is_left_aside_and_said():
    state = network().state_dict() | {"loss.discriminator.main.0.weight": torch.zeros(2)}
    imported = interpret(state)
    assert "left aside: loss (1 tensors), networks of the training loss" in imported.statements
    assert imported.model.scaling_factor == 0.18215
    assert any("assumed: 32 groups, eps 1e-6" in line for line in imported.statements)
    assert any("assumed: latent scaling factor 0.18215" in line for line in imported.statements)


@torch.no_grad()
def test_without_convolutions_around_the_latent_they_change_nothing():
    theirs = network()
    state = {n: t for n, t in theirs.state_dict().items() if "quant_conv" not in n}
    imported = interpret(state)
    x, z = noise(1, 3, 8, 8), noise(1, 4, 2, 2)
    assert_close(imported.model.moments(x), theirs.encoder(x), 1e-5)
    assert_close(imported.model.decode(z), theirs.decoder(z), 1e-5)
    assert any("there is no quant_conv" in line for line in imported.statements)


DDCONFIG = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def test_its_own_configuration_is_read_nested_or_flat():
    state = network().state_dict()
    nested = {"params": {"embed_dim": 4, "lossconfig": {}, "ddconfig": DDCONFIG}}
    whole = nested | {"target": "ldm.models.autoencoder.AutoencoderKL", "base_learning_rate": 4e-6}
    for config in (whole, nested["params"], DDCONFIG | {"attn_resolutions": [64]}):
        assert interpret(state, config).config.resolution == 32
    attending = network(attends=[False, True]).state_dict()
    imported = interpret(attending, DDCONFIG | {"attn_resolutions": [16, 7]})
    assert imported.config.attn_resolutions == (2,)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("ch", 64, r"ch is 64 in the configuration and 32 in the weights"),
        ("ch_mult", [1, 3], r"ch_mult is \[1, 3\].*\[1, 2\] in the weights"),
        ("num_res_blocks", 2, "num_res_blocks is 2"),
        ("attn_resolutions", [16], r"attn_resolutions is \[16\]"),
        ("z_channels", 3, "z_channels is 3"),
        ("double_z", False, "double_z is False"),
        ("attn_type", "none", "attn_type is none"),
        ("attn_type", "linear", "attn_type 'linear'"),
        ("give_pre_end", True, "give_pre_end True"),
        ("resamp_with_conv", False, "resamp_with_conv False"),
        ("num_groups", 5, "norm_groups 5 does not divide"),
        ("scale_factor", -1.0, "scale_factor is a positive number"),
        ("resolution", 33, "not a multiple of the factor"),
        ("frobnicate", 1, "has unknown keys: frobnicate"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(key, value, words):
    with pytest.raises(WeightsError, match=words):
        import_weights(network().state_dict(), DDCONFIG | {key: value})


def test_in_other_dimensions_the_groups_must_be_given():
    model = small_model(norm_groups=2)
    with pytest.raises(WeightsError, match="num_groups"):
        import_weights(model.state_dict())
    ours = import_weights(model.state_dict(), {"num_groups": 2})
    x = noise(1, 1, 4, 4, 4)
    assert_close(ours.moments(x).detach(), model.moments(x).detach(), 1e-6)


def test_the_groups_of_a_3d_ddconfig_are_assumed_and_told():
    """As in MedVAE, whose configurations hold a ddconfig without groups."""
    model = small_model(base_ch=32, norm_groups=32)
    inner = DDCONFIG | {"in_channels": 1, "out_ch": 1}
    medvae = {
        "model": {"_target_": "medvae.AutoencoderKL", "params": {"ddconfig": inner, "embed_dim": 4}}
    }
    imported = interpret(model.state_dict(), medvae)
    assert any("32 groups" in line and "MedVAE" in line for line in imported.statements)
    x = noise(1, 1, 4, 4, 4)
    assert_close(imported.model.moments(x).detach(), model.moments(x).detach(), 1e-6)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"spatial_dims": 3}, "spatial_dims 3"),
        ({"norm_groups": 4}, "4 groups instead of 32"),
        ({"norm_groups": None, "ch_mult": (1, 3), "base_ch": 8}, "different numbers of groups"),
        ({"norm": "rms", "norm_groups": None}, "norm 'rms'"),
        ({"strides": ((2, 1),)}, "strides other than 2"),
        ({"padding_mode": "replicate"}, "padding_mode 'replicate'"),
        ({"num_res_blocks": (1, 2)}, "differ by level"),
        ({"decoder_blocks": 1}, "not one more than the encoder's"),
        ({"encoder_mid": False}, "encoder_mid false"),
        ({"decoder_mid": False}, "decoder_mid false"),
        ({"head_activation": False}, "head_activation false"),
        ({"upsample_mode": "linear"}, "upsample_mode 'linear'"),
        ({"double_z": False}, "double_z false"),
        ({"down_channels": (64, 96)}, "no multiples"),
        ({"mid_attn": False, "attn_resolutions": (2,)}, "attention in levels but not in"),
    ],
)
def test_what_latent_diffusion_does_not_have_is_named(numbers, words):
    usual = {"spatial_dims": 2, "base_ch": 32, "norm_groups": 32}
    with pytest.raises(ConfigError, match=words):
        export_weights(small_model(**(usual | numbers)), "compvis")
