"""Against diffusers' AutoencoderKL."""

import re

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL as CheckpointFormat

from ct_vae.convert_weights import export_weights, import_weights, interpret
from ct_vae.errors import ConfigError, WeightsError
from tests._asserts import assert_close
from tests.models._small import noise, randomise, small_model

OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def peer(channels=(8, 16), attention=None, **numbers):
    attention = attention or [False] * len(channels)
    kinds = ["Attn" if on else "" for on in attention]
    defaults = {"in_channels": 1, "out_channels": 1, "norm_num_groups": 4}
    model = CheckpointFormat(
        block_out_channels=channels,
        down_block_types=[f"{kind}DownEncoderBlock2D" for kind in kinds],
        up_block_types=[f"{kind}UpDecoderBlock2D" for kind in reversed(kinds)],
        **(defaults | numbers),
    )
    randomise(model)
    return model.eval()


def assert_agree(ours, theirs, relative, dtype=torch.float32):
    x = noise(1, theirs.config.in_channels, 32, 16).to(dtype)
    z = noise(1, theirs.config.latent_channels, 3, 2).to(dtype)
    with torch.no_grad():
        assert_close(ours.moments(x), theirs.encode(x).latent_dist.parameters, relative)
        assert_close(ours.decode(z), theirs.decode(z).sample, relative)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"channels": (8, 16, 16), "in_channels": 3, "out_channels": 3, "layers_per_block": 2},
        {"channels": (8, 16, 12), "attention": [True, False, True], "latent_channels": 3},
        {"channels": (8, 8, 16, 16), "mid_block_add_attention": False, "attention": [0, 0, 1, 0]},
        {"use_quant_conv": False, "scaling_factor": 0.5},
        {"use_quant_conv": False, "use_post_quant_conv": False, "in_channels": 3},
        {"use_post_quant_conv": False},
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_gives_the_same_and_comes_back_unchanged(numbers, dtype):
    theirs = peer(**numbers).to(dtype)
    ours = import_weights(theirs.state_dict(), dict(theirs.config))
    assert_agree(ours, theirs, 1e-5 if dtype == torch.float32 else 1e-12, dtype)
    assert ours.scaling_factor == theirs.config.scaling_factor
    state, config = export_weights(ours, "diffusers")
    assert state.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    given = dict(theirs.config)
    for key, value in config.items():
        if not key.startswith("_"):
            assert value == (list(given[key]) if isinstance(given[key], tuple) else given[key]), key


def test_what_comes_back_is_taken_by_its_own_loader():
    ours = small_model(spatial_dims=2, norm_groups=4, attn_resolutions=(2,))
    state, config = export_weights(ours, "diffusers")
    theirs = CheckpointFormat.from_config(config)
    theirs.load_state_dict(state)
    assert_agree(ours, theirs.eval(), 1e-5)


@pytest.mark.parametrize("as_convolution", [True, False])
def test_old_names_of_attention_are_read(as_convolution):
    theirs = peer(attention=[False, True])
    old = {}
    for name, tensor in theirs.state_dict().items():
        layer = re.search(r"attentions\.\d+\.(to_q|to_k|to_v|to_out\.0)\.", name)
        square = layer and tensor.ndim == 2 and as_convolution
        new = name.replace(layer[1], OLD[layer[1]]) if layer else name
        old[new] = tensor[:, :, None, None] if square else tensor
    assert any("proj_attn" in name for name in old)
    imported = interpret(old, dict(theirs.config))
    assert_agree(imported.model, theirs, 1e-5)
    assert any("by their old names in diffusers" in line for line in imported.statements)


def test_a_name_that_is_there_twice_is_refused():
    state = dict(peer().state_dict())
    name = "encoder.mid_block.attentions.0.to_q.bias"
    for extra in ({name.replace("to_q", "query"): state[name]},):
        with pytest.raises(WeightsError, match="twice"):
            import_weights(state | extra, {"norm_num_groups": 4})
        with pytest.raises(WeightsError, match="twice"):
            import_weights(extra | state, {"norm_num_groups": 4})


def test_half_precision_is_read_and_said():
    state = {name: tensor.half() for name, tensor in peer().state_dict().items()}
    imported = interpret(state, {"norm_num_groups": 4})
    assert imported.model.quant_conv.weight.dtype == torch.float32
    assert any("stored as float16" in line for line in imported.statements)
    told = "assumed: latent scaling factor 0.18215"
    assert any(told in line for line in imported.statements)


def test_without_a_configuration_the_groups_would_be_guessed():
    with pytest.raises(WeightsError, match=r"number of groups.*norm_num_groups"):
        import_weights(peer().state_dict())
    groups = "assumed: norm_num_groups 32"
    theirs = peer((32, 64), norm_num_groups=32)
    assert any(groups in s for s in interpret(theirs.state_dict(), {"act_fn": "silu"}).statements)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("block_out_channels", (8, 24), r"block_out_channels is \[8, 24\].*\[8, 16\]"),
        ("layers_per_block", 2, "layers_per_block is 2"),
        ("latent_channels", 8, "latent_channels is 8"),
        ("in_channels", 3, "in_channels is 3"),
        ("down_block_types", ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"], "down_block_types"),
        ("down_block_types", ["DownEncoderBlock2D", "SkipDownBlock2D"], "down_block_types"),
        ("use_quant_conv", False, "use_quant_conv is False"),
        ("mid_block_add_attention", False, "mid_block_add_attention is False"),
        ("norm_num_groups", 3, "norm_groups 3 does not divide"),
        ("norm_num_groups", True, "norm_num_groups is a positive integer"),
        ("act_fn", "gelu", "act_fn 'gelu'"),
        ("shift_factor", "0.1", "shift_factor is a finite number"),
        ("latents_mean", [0.0] * 4, "latents_mean"),
        ("_class_name", "AutoencoderTiny", "configuration is of AutoencoderTiny"),
        ("scaling_factor", 0, "scaling_factor is a positive number"),
        ("temporal", 1, "has unknown keys: temporal"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(key, value, words):
    theirs = peer()
    with pytest.raises(WeightsError, match=words):
        import_weights(theirs.state_dict(), dict(theirs.config) | {key: value})


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"spatial_dims": 3}, "spatial_dims 3"),
        ({"embed_dim": 3}, "embed_dim 3 other than z_channels 4"),
        ({"ch_mult": (2, 4)}, "a first convolution of 8 channels before a level of 16"),
        ({"tanh_out": True}, "tanh_out"),
        ({"norm": "layer", "norm_groups": None}, "norm 'layer'"),
        ({"spatial_dims": 1, "encoder_mid": False}, "spatial_dims 1; encoder_mid false"),
    ],
)
def test_what_diffusers_does_not_have_is_named(numbers, words):
    with pytest.raises(ConfigError, match=words):
        export_weights(small_model(**({"spatial_dims": 2} | numbers)), "diffusers")


def test_a_shift_before_scaling_is_kept_and_undone():
    """As in Stable Diffusion 3: latents are shifted, then scaled."""
    theirs = peer(
        use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.5, shift_factor=0.3
    )
    ours = import_weights(theirs.state_dict(), dict(theirs.config))
    assert (ours.scaling_factor, ours.shift_factor) == (1.5, 0.3)
    x = noise(1, 1, 16, 16)
    with torch.no_grad():
        mean = theirs.encode(x).latent_dist.mode()
        scaled = ours.encode(x, normalize=True)
        torch.testing.assert_close(scaled, (mean - 0.3) * 1.5, rtol=1e-4, atol=1e-5)
        decoded = ours.decode(scaled, denorm=True)
        torch.testing.assert_close(
            decoded, ours.decode(ours.encode(x).mode()), rtol=1e-4, atol=1e-5
        )
    assert export_weights(ours, "diffusers")[1]["shift_factor"] == 0.3
    assert (
        "shift_factor"
        not in export_weights(
            import_weights(peer().state_dict(), dict(peer().config)), "diffusers"
        )[1]
    )
