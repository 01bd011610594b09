import inspect
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests._asserts import assert_close
from tests.models._models import image, make

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.blocks.resample import DownsampleND, UpsampleND
from ct_vae.blocks.resblock import ResBlockND
from ct_vae.errors import ConfigError, InputError
from ct_vae.models import LATENT_SCALE, AutoencoderKL, DiagonalGaussian, UntrainedWarning

# The signature that people have code against (names, order and defaults).
INTERFACE = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "resolution": 256,
    "base_ch": 128,
    "ch_mult": (1, 2, 4, 4),
    "down_channels": None,
    "num_res_blocks": 2,
    "attn_resolutions": (),
    "mid_attn": True,
    "z_channels": 4,
    "double_z": True,
    "embed_dim": 4,
    "norm_groups": None,
    "tanh_out": False,
    "dropout": 0.0,
    "codebook_size": 8192,
    "ckpt_path": None,
}


def test_names_and_defaults_are_the_interface():
    parameters = inspect.signature(AutoencoderKL).parameters
    assert {name: p.default for name, p in parameters.items()} == INTERFACE


def test_the_2d_default_is_the_stable_diffusion_autoencoder():
    with torch.device("meta"), pytest.warns(UntrainedWarning):
        model = AutoencoderKL(spatial_dims=2, in_channels=3, out_channels=3)
    assert sum(p.numel() for p in model.parameters()) == 83_653_863
    assert model.factor == (8, 8)
    rows = {s.name: (s.channels, s.factor, s.side, s.attention) for s in model.describe()}
    assert rows["encoder.down.0"] == (128, 1, 256, False)
    assert rows["encoder.down.3"] == (512, 8, 32, False)
    assert rows["decoder.mid"] == (512, 8, 32, True)
    assert rows["latent"] == (4, 8, 32, False)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"ch_mult": (1, 2)},
        {"ch_mult": (1,)},
        {"ch_mult": (2, 1, 4), "base_ch": 4},
        {"down_channels": (4, 12, 8)},
        {"num_res_blocks": 2, "attn_resolutions": (2,), "mid_attn": False},
        {"z_channels": 3, "embed_dim": 5, "double_z": False},
        {"in_channels": 2, "out_channels": 3, "tanh_out": True},
    ],
)
def test_every_feature_map_has_the_written_shape(dims, numbers):
    """Watched at the blocks themselves, against the rules written out by hand."""
    model = make(spatial_dims=dims, **numbers)
    x = image(dims, model.in_channels)
    widths = list(model.shape.channels)
    levels, count = len(widths), model.shape.num_res_blocks
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.shape}))
        for name, module in model.named_modules()
        if name
    ]
    reconstruction, posterior = model(x)
    for hook in hooks:
        hook.remove()

    def sides(factor):
        return tuple(n // factor for n in x.shape[2:])

    for i, width in enumerate(widths):
        for j in range(count):
            assert seen[f"encoder.down.{i}.block.{j}"] == (1, width, *sides(2**i))
        for j in range(count + 1):
            assert seen[f"decoder.up.{i}.block.{j}"] == (1, width, *sides(2**i))
        if i < levels - 1:
            assert seen[f"encoder.down.{i}.downsample"] == (1, width, *sides(2 ** (i + 1)))
        if i:
            assert seen[f"decoder.up.{i}.upsample"] == (1, width, *sides(2 ** (i - 1)))
    factor = 2 ** (levels - 1)
    assert model.factor == (factor,) * dims
    assert seen["encoder.mid"] == seen["decoder.mid"] == (1, widths[-1], *sides(factor))
    assert posterior.mean.shape == (1, model.latent_channels, *sides(factor))
    assert reconstruction.shape == (1, model.out_channels, *x.shape[2:])


@pytest.mark.parametrize(
    ("attn_resolutions", "mid_attn", "expected"),
    [
        ((), True, {"encoder.mid.attn_1", "decoder.mid.attn_1"}),
        ((), False, set()),
        (
            (4,),
            False,
            {"encoder.down.2.attn.0", "decoder.up.2.attn.0", "decoder.up.2.attn.1"},
        ),
        (
            (1, 2),
            False,
            {f"encoder.down.{i}.attn.0" for i in (0, 1)}
            | {f"decoder.up.{i}.attn.{j}" for i in (0, 1) for j in (0, 1)},
        ),
    ],
)
def test_attention_sits_where_the_factors_say(attn_resolutions, mid_attn, expected):
    model = make(attn_resolutions=attn_resolutions, mid_attn=mid_attn)
    found = {n for n, m in model.named_modules() if isinstance(m, SpatialSelfAttention)}
    assert found == expected


def test_blocks_are_counted_as_written():
    model = make(num_res_blocks=3, ch_mult=(1, 2, 4))
    count = {
        kind: sum(isinstance(m, kind) for m in model.modules())
        for kind in (ResBlockND, DownsampleND, UpsampleND)
    }
    assert count == {ResBlockND: 3 * 3 + 2 + 3 * 4 + 2, DownsampleND: 2, UpsampleND: 2}


@settings(max_examples=10)
@given(st.tuples(*[st.integers(1, 6)] * 3))
def test_any_multiple_of_the_factor_runs(blocks):
    model = make(base_ch=4)
    x = torch.zeros(1, 1, *[4 * n for n in blocks])
    assert model.moments(x).shape == (1, 8, *blocks)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 16, 16, 18), "not multiples of the factor"),
        ((1, 2, 16, 16, 16), "expected"),
        ((1, 1, 16, 16), "expected"),
    ],
)
def test_other_images_are_refused(shape, words):
    with pytest.raises(InputError, match=words):
        make().encode(torch.zeros(shape))


def test_latents_with_other_channels_are_refused():
    with pytest.raises(InputError, match="expected"):
        make().decode(torch.zeros(1, 5, 2, 2, 2))


@pytest.mark.parametrize(
    "numbers", [{"spatial_dims": 4}, {"attn_resolutions": (3,)}, {"norm_groups": 3}]
)
def test_numbers_that_do_not_fit_together_are_refused(numbers):
    with pytest.raises(ConfigError):
        make(**numbers)


def test_encode_gives_the_posterior_and_normalised_latents():
    model = make()
    x = image()
    posterior = model.encode(x)
    assert isinstance(posterior, DiagonalGaussian)
    assert torch.equal(model.encode(x, normalize=True), posterior.mean * LATENT_SCALE)
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    sample = model.encode(x, normalize=True, sample=True, generator=draws[0])
    assert torch.equal(sample, posterior.sample(draws[1]) * LATENT_SCALE)


def test_denorm_undoes_normalize():
    model = make()
    model.scaling_factor = 3.0
    x = image()
    normalised = model.encode(x, normalize=True)
    plain = model.decode(model.encode(x).mode())
    assert_close(model.decode(normalised, denorm=True), plain, 1e-6)
    assert not torch.allclose(model.decode(normalised), plain)


def test_forward_samples_unless_told_otherwise():
    model = make()
    x = image()
    fixed, posterior = model(x, sample_posterior=False)
    assert torch.equal(fixed, model.decode(posterior.mode()))
    assert not torch.equal(model(x)[0], model(x)[0])


def test_monai_doors_are_unscaled_means():
    model = make()
    x = image()
    latent = model.encode_stage_2_inputs(x)
    assert torch.equal(latent, model.encode(x).mode())
    assert torch.equal(model.decode_stage_2_outputs(latent), model.decode(latent))
    assert model.latent_channels == latent.shape[1]


def test_tanh_bounds_the_output():
    model = make(tanh_out=True)
    out = model.decode(100 * torch.randn(1, 4, 3, 3, 3))
    assert out.abs().max() <= 1
    assert make().decode(100 * torch.randn(1, 4, 3, 3, 3)).abs().max() > 1


def test_the_codebook_size_changes_nothing():
    assert make(codebook_size=2).state_dict().keys() == make().state_dict().keys()


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_gradient_reaches_every_parameter(dims):
    """All but the keys' bias: it adds the same to every score, and softmax drops it."""
    model = make(spatial_dims=dims, attn_resolutions=(4,), dropout=0.1).train()
    reconstruction, posterior = model(image(dims))
    (reconstruction.square().mean() + posterior.kl().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith(".k.bias"):
            assert parameter.grad.abs().max() > 0, name


def test_double_precision_and_autocast_run():
    model, x = make(attn_resolutions=(4,)), image()
    single = model(x, sample_posterior=False)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, posterior = model(x, sample_posterior=False)
    assert posterior.kl().dtype == torch.float32
    assert_close(rough, single, 0.05)
    double = model.double()(x.double(), sample_posterior=False)[0]
    assert double.dtype == torch.float64
    assert_close(single, double, 1e-5)


def test_evaluation_is_deterministic_and_leaves_the_model_alone():
    model, x = make(dropout=0.3), image()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert torch.equal(model(x, sample_posterior=False)[0], model(x, sample_posterior=False)[0])
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.slow
def test_encode_and_decode_compile_without_graph_breaks():
    model, x = make(attn_resolutions=(4,)), image()
    encode = torch.compile(lambda v: model.encode(v).mode(), backend="eager", fullgraph=True)
    decode = torch.compile(model.decode, backend="eager", fullgraph=True)
    torch.testing.assert_close(encode(x), model.encode(x).mode())
    torch.testing.assert_close(decode(encode(x)), model.decode(model.encode(x).mode()))


def test_a_model_without_weights_warns_and_one_with_weights_does_not(tmp_path):
    from safetensors.torch import save_file

    with pytest.warns(UntrainedWarning, match="from scratch"):
        model = AutoencoderKL(base_ch=4, ch_mult=(1, 2), num_res_blocks=1)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (tmp_path, tmp_path / "model.safetensors"):
            again = AutoencoderKL(base_ch=4, ch_mult=(1, 2), num_res_blocks=1, ckpt_path=path)
            assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
