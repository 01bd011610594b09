"""Against MONAI's AutoencoderKL and AutoencoderKlMaisi."""

import re

import pytest
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.networks.nets import AutoencoderKL as MonaiKL

from ct_vae.convert_weights import export_weights, import_weights, interpret
from ct_vae.errors import ConfigError, WeightsError
from tests._asserts import assert_close
from tests.models._small import noise, randomise, small_model

NONE, LAST, BOTH = (False, False), (False, True), (True, True)
# Attention by level, middle of the encoder, middle of the decoder, blocks by level.
SHAPES = [
    (NONE, True, True, (1, 2)),
    (LAST, True, True, (1, 1)),
    (BOTH, True, True, (2, 1)),
    (LAST, False, True, (1, 2)),
    (BOTH, True, False, (1, 2)),
    (BOTH, False, False, (2, 2)),
    (NONE, False, False, (2, 1)),
]


def arguments(dims, attention, encoder_mid, decoder_mid, blocks, **more):
    shared = {
        "spatial_dims": dims,
        "in_channels": 1,
        "out_channels": 1,
        "num_res_blocks": blocks,
        "attention_levels": attention,
        "latent_channels": 3,
        "norm_num_groups": 4,
        "with_encoder_nonlocal_attn": encoder_mid,
        "with_decoder_nonlocal_attn": decoder_mid,
    }
    return shared | more


def monai(dims=3, shape=SHAPES[0], **more):
    given = arguments(dims, *shape, **({"channels": (8, 16)} | more))
    model = MonaiKL(**given)
    randomise(model)
    return model.eval(), given


def maisi(shape=SHAPES[0], **more):
    splitting = {"num_splits": 1, "norm_float16": False}
    given = arguments(3, *shape, **({"num_channels": (8, 16)} | splitting | more))
    model = AutoencoderKlMaisi(**given)
    randomise(model)
    return model.eval(), given


def assert_agree(ours, theirs, relative, dtype=torch.float32):
    dims = ours.spatial_dims
    x = noise(1, 1, *(8, 12, 4)[:dims])
    z = noise(1, 3, *(3, 2, 2)[:dims]).to(dtype)
    with torch.no_grad():
        mean, std = theirs.encode(x.to(dtype))
        posterior = ours.posterior(x.to(dtype))
        assert_close(posterior.mean, mean, relative)
        assert_close(posterior.std, std, relative)
        assert_close(ours.decode(z), theirs.decode(z), relative)


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


def test_combined_layers_of_attention_are_taken_apart():
    theirs, given = monai(3, SHAPES[1], use_combined_linear=True)
    assert any("attn.qkv" in name for name in theirs.state_dict())
    assert_agree(import_weights(theirs.state_dict(), given), theirs, 1e-5)


def older(state):
    """Names of MONAI Generative, which MAISI's first weights had too."""
    rules = [
        (r"\.attn\.(to_[qkv])\.", r".\1."),
        (r"\.attn\.out_proj\.", ".proj_attn."),
        (r"\.postconv\.conv\.", ".conv.conv."),
    ]
    result = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901 - one rule after the other
        result[name] = tensor
    return result


@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[5]])
def test_names_of_monai_generative_are_read_where_the_class_is_reported(shape):
    theirs, given = monai(3, shape)
    old = older(theirs.state_dict())
    given["num_channels"] = given.pop("channels")
    with pytest.raises(WeightsError, match=r"MONAI Generative and older MAISI.*_target_"):
        import_weights(old, given)
    for target in ("AutoencoderKL", "generative.networks.nets.AutoencoderKL"):
        imported = interpret(old, given | {"_target_": target})
        assert_agree(imported.model, theirs, 1e-5)
    assert any("MONAI Generative" in line for line in imported.statements)


@pytest.mark.parametrize("shape", [*SHAPES[1:4], SHAPES[5]])
def test_old_names_of_maisi_are_read(shape):
    theirs, given = maisi(shape, include_fc=True)
    # The same network of MONAI's holds its tensors in the same order.
    twin, _ = monai(3, shape)
    tensors = theirs.state_dict().values()
    old = older(dict(zip(twin.state_dict(), tensors, strict=True)))
    assert_agree(import_weights(old, given), theirs, 1e-5)
    assert_agree(
        import_weights(old, arguments(3, *shape, _target_="x.AutoencoderKlMaisi")),
        theirs,
        1e-5,
    )


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


def test_transposed_convolutions_are_refused_by_name():
    theirs, given = monai(2, SHAPES[6], use_convtranspose=True)
    with pytest.raises(WeightsError, match="use_convtranspose"):
        import_weights(theirs.state_dict(), given)
    theirs, given = maisi(SHAPES[6], use_convtranspose=True)
    with pytest.raises(WeightsError, match="use_convtranspose True"):
        import_weights(theirs.state_dict(), given)


def test_monai_and_maisi_are_not_taken_for_each_other():
    theirs, given = monai()
    for wrong in ({"_target_": "x.AutoencoderKlMaisi"}, {"num_splits": 2}):
        with pytest.raises(WeightsError, match=r"num_splits|AutoencoderKlMaisi"):
            import_weights(theirs.state_dict(), given | wrong)
    theirs, given = maisi()
    with pytest.raises(WeightsError, match="the configuration is of AutoencoderKL"):
        import_weights(theirs.state_dict(), given | {"_target_": "x.AutoencoderKL"})


def test_a_list_of_units_that_monai_does_not_make_is_refused():
    theirs, given = monai(2, SHAPES[0])
    state = theirs.state_dict()
    without = {n: t for n, t in state.items() if not n.startswith("encoder.blocks.3.")}
    with pytest.raises(WeightsError, match=r"encoder\.blocks\.3 is not a unit"):
        import_weights(without, given)
    cut = {n: t for n, t in state.items() if not n.startswith("decoder.")}
    with pytest.raises(WeightsError, match=r"no decoder\.blocks"):
        import_weights(cut, given)
    block = {n for n in state if n.startswith("encoder.blocks.7.")}
    two_norms = {n: t for n, t in state.items() if n not in block}
    two_norms["encoder.blocks.7.weight"] = torch.ones(16)
    with pytest.raises(WeightsError, match="not a list of units that MONAI creates: crsrrrannc"):
        import_weights(two_norms, given)
    odd = {n: t for n, t in state.items() if not n.startswith("encoder.blocks.1.")}
    odd["encoder.blocks.1.attn.to_q.weight"] = torch.ones(8, 8)
    with pytest.raises(WeightsError, match="a level that MONAI does not create: 'a'"):
        import_weights(odd, given)
    alone = {n: t for n, t in state.items() if "quant_conv_mu" not in n}
    with pytest.raises(WeightsError, match=r"no quant_conv\.conv\.weight"):
        import_weights(alone, given)


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
