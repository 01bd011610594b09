import inspect

import pytest
import torch

from ct_vae.errors import ConfigError, InputError, WeightsError
from ct_vae.models import LATENT_SCALE, AutoencoderKL, DiagonalGaussian, UntrainedWarning
from tests._asserts import assert_close
from tests.models._small import noise, save_weights, small_model

DIMS = pytest.mark.parametrize("dims", [1, 2, 3])


def test_names_and_defaults_of_the_constructor_are_fixed():
    parameters = list(inspect.signature(AutoencoderKL).parameters.values())
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert {p.name: p.default for p in positional} == {
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


def test_two_dimensions_and_three_channels_make_the_stable_diffusion_autoencoder():
    with torch.device("meta"), pytest.warns(UntrainedWarning):
        model = AutoencoderKL(spatial_dims=2, in_channels=3, out_channels=3)
    assert sum(p.numel() for p in model.parameters()) == 83_653_863


@DIMS
@pytest.mark.parametrize("blocks", [1, 3])
def test_encode_divides_and_decode_multiplies_by_the_factor(dims, blocks):
    model = small_model(spatial_dims=dims, in_channels=2, out_channels=3, embed_dim=5)
    sides, latent_sides = (4 * blocks, 8, 4)[:dims], (2 * blocks, 4, 2)[:dims]
    assert model.factor == (2,) * dims
    moments = model.moments(noise(2, 2, *sides))
    assert moments.shape == (2, 10, *latent_sides)
    assert model.latent_channels == 5
    assert model.decode(noise(2, 5, *latent_sides)).shape == (2, 3, *sides)


def test_widths_come_from_multiples_or_as_they_are():
    by_multiples = small_model(base_ch=8, ch_mult=(1, 3))
    as_they_are = small_model(base_ch=77, down_channels=(8, 24))
    assert [p.shape for p in by_multiples.parameters()] == [
        p.shape for p in as_they_are.parameters()
    ]


def test_encode_gives_the_posterior_of_the_moments():
    model, x = small_model(), noise(1, 1, 4, 4, 4)
    posterior = model.encode(x)
    assert isinstance(posterior, DiagonalGaussian)
    mean, logvar = model.moments(x).chunk(2, dim=1)
    torch.testing.assert_close(posterior.mean, mean, rtol=0, atol=0)
    torch.testing.assert_close(posterior.logvar, logvar, rtol=0, atol=0)
    torch.testing.assert_close(model.posterior(x).mean, mean, rtol=0, atol=0)


def test_normalized_latents_are_scaled_means_or_samples():
    model, x = small_model(), noise(1, 1, 4, 4, 4)
    posterior = model.posterior(x)
    assert model.scaling_factor == LATENT_SCALE == 0.18215
    model.scaling_factor = 0.5
    torch.testing.assert_close(model.encode(x, normalize=True), 0.5 * posterior.mean)
    drawn = model.encode(x, normalize=True, sample=True, generator=torch.Generator().manual_seed(3))
    expected = posterior.sample(torch.Generator().manual_seed(3))
    torch.testing.assert_close(drawn, 0.5 * expected)


def test_decode_undoes_the_scale_on_request():
    model, z = small_model(), noise(1, 4, 2, 2, 2)
    model.scaling_factor = 0.25
    torch.testing.assert_close(model.decode(0.25 * z, denorm=True), model.decode(z))


def test_forward_reconstructs_the_mean_or_a_sample():
    model, x = small_model(), noise(1, 1, 4, 4, 4)
    reconstruction, posterior = model(x, sample_posterior=False)
    torch.testing.assert_close(reconstruction, model.decode(posterior.mean))
    torch.manual_seed(5)
    drawn, _ = model(x)
    torch.manual_seed(5)
    torch.testing.assert_close(drawn, model.decode(posterior.sample()))


def test_the_doors_for_stage_two_are_unscaled():
    model, x = small_model(), noise(1, 1, 4, 4, 4)
    latent = model.encode_stage_2_inputs(x)
    torch.testing.assert_close(latent, model.posterior(x).mean)
    torch.testing.assert_close(model.decode_stage_2_outputs(latent), model.decode(latent))


def test_a_single_z_goes_through_the_quantization_convolution():
    model = small_model(double_z=False, z_channels=3, embed_dim=4)
    assert model.quant_conv.weight.shape[:2] == (8, 3)
    assert model.post_quant_conv.weight.shape[:2] == (3, 4)
    assert model(noise(1, 1, 4, 4, 4))[0].shape == (1, 1, 4, 4, 4)


def test_tanh_bounds_the_output():
    plain, bounded = small_model(), small_model(tanh_out=True)
    z = 10 * noise(1, 4, 2, 2, 2)
    torch.testing.assert_close(bounded.decode(z), plain.decode(z).tanh())


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 4, 5, 4), r"sides \(4, 5, 4\) are not multiples of the factor \(2, 2, 2\)"),
        ((1, 1, 0, 4, 4), r"sides \(0, 4, 4\)"),
        ((1, 2, 4, 4, 4), r"expected \(batch, 1, 3 sides\), got \(1, 2, 4, 4, 4\)"),
        ((1, 1, 4, 4), "3 sides"),
        ((1, 4, 4, 4), "3 sides"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape, words):
    with pytest.raises(InputError, match=words):
        small_model().encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3, 2, 2, 2), (1, 4, 2, 2), (1, 4, 0, 2, 2)])
def test_latents_that_do_not_fit_are_refused(shape):
    with pytest.raises(InputError):
        small_model().decode(torch.zeros(shape))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"spatial_dims": 4}, "spatial_dims: Input should be 1, 2 or 3, got 4"),
        ({"base_ch": 0}, "base_ch: Input should be greater than 0"),
        ({"ch_mult": ()}, "ch_mult: List should have at least 1 item"),
        ({"down_channels": ()}, "down_channels: List should have at least 1 item"),
        ({"num_res_blocks": 0}, "num_res_blocks: Input should be greater than 0"),
        ({"in_channels": 0}, "in_channels: Input should be greater than 0"),
        ({"out_channels": -1}, "out_channels: Input should be greater than 0"),
        ({"z_channels": 0}, "z_channels: Input should be greater than 0"),
        ({"embed_dim": 0}, "embed_dim: Input should be greater than 0"),
        ({"norm_groups": 3}, "norm_groups 3 does not divide the widths"),
        ({"dropout": 1.0}, "dropout"),
        ({"resolution": 15, "strides": ((2, 1, 2),)}, "resolution 15 is not a multiple"),
        ({"resolution": 15}, "resolution 15 is not a multiple of the factor 2"),
        ({"attn_resolutions": (2, 4)}, r"attn_resolutions \[4\] do not occur"),
    ],
)
def test_numbers_that_make_no_network_are_refused(numbers, words):
    with pytest.raises(ConfigError, match=words):
        small_model(**numbers)


def test_the_codebook_size_changes_nothing():
    assert small_model(codebook_size=3).state_dict().keys() == small_model().state_dict().keys()


@DIMS
def test_gradient_reaches_every_parameter(dims):
    model = small_model(spatial_dims=dims, attn_resolutions=(1, 2)).double().train()
    x = noise(2, 1, *[8] * dims).double()
    reconstruction, posterior = model(x)
    ((reconstruction - x) ** 2 + 0.1 * posterior.kl_elements().mean()).mean().backward()
    # Adding one vector to every key shifts all scores of a query alike, which softmax ignores.
    still = {name for name, p in model.named_parameters() if p.grad.norm() < 1e-12}
    assert still == {n for n, _ in model.named_parameters() if n.endswith(".k.bias")}


def test_evaluation_is_deterministic_and_training_drops_out():
    model, x = small_model(dropout=0.5), noise(1, 1, 4, 4, 4)
    torch.testing.assert_close(model.moments(x), model.moments(x), rtol=0, atol=0)
    model.train()
    assert not torch.equal(model.moments(x), model.moments(x))


def test_an_image_does_not_depend_on_its_companions():
    model, x = small_model(), noise(3, 1, 4, 4, 4)
    assert_close(model.moments(x)[1:2], model.moments(x[1:2]), 1e-6)


def test_double_precision_agrees_with_single():
    model, x = small_model(), noise(1, 1, 8, 8, 8)
    single, _ = model(x, sample_posterior=False)
    double, posterior = model.double()(x.double(), sample_posterior=False)
    assert double.dtype == posterior.mean.dtype == torch.float64
    assert_close(single, double, 1e-5)


def test_autocast_keeps_the_posterior_in_single_precision():
    model, x = small_model(), noise(1, 1, 8, 8, 8)
    reference, _ = model(x, sample_posterior=False)
    with torch.autocast("cpu", torch.bfloat16):
        reconstruction, posterior = model(x, sample_posterior=False)
    assert posterior.mean.dtype == posterior.kl().dtype == torch.float32
    assert_close(reconstruction, reference, 0.05)


def test_a_whole_model_in_half_the_width_runs():
    model, x = small_model(), noise(1, 1, 8, 8, 8)
    reference, _ = model(x, sample_posterior=False)
    narrow, posterior = model.bfloat16()(x.bfloat16(), sample_posterior=False)
    assert (narrow.dtype, posterior.mean.dtype) == (torch.bfloat16, torch.float32)
    assert_close(narrow, reference, 0.05)


@pytest.mark.parametrize("method", ["moments", "encode_stage_2_inputs", "decode", "forward"])
def test_it_compiles_as_one_graph(method):
    model = small_model(attn_resolutions=(1,))
    x = noise(1, 4, 4, 4, 4) if method == "decode" else noise(1, 1, 4, 4, 4)
    torch.compiler.reset()
    plain = getattr(model, method)
    compiled = torch.compile(plain, backend="eager", fullgraph=True)
    torch.manual_seed(0)
    expected = plain(x)
    torch.manual_seed(0)
    result = compiled(x)
    pairs = [(result, expected)] if method != "forward" else [(result[0], expected[0])]
    for a, b in pairs:
        torch.testing.assert_close(a, b)


def test_encode_compiles_as_one_graph():
    model, x = small_model(), noise(1, 1, 4, 4, 4)
    torch.compiler.reset()
    posterior = torch.compile(model.encode, backend="eager", fullgraph=True)(x)
    torch.testing.assert_close(posterior.mean, model.posterior(x).mean)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_network_inflated_at_the_center_sees_what_the_flatter_one_sees(dims):
    flat = small_model(spatial_dims=dims, attn_resolutions=(2,))
    deep = small_model(spatial_dims=dims + 1, attn_resolutions=(2,))
    deep.load_state_dict(
        {name: _inflated(tensor, dims) for name, tensor in flat.state_dict().items()}
    )
    x, z = noise(1, 1, *(8, 4)[:dims]), noise(1, 4, *(4, 2)[:dims])
    # Nothing changes along the new axis, so that norms and attention see the same statistics.
    moments = deep.moments(x.unsqueeze(-1).expand(*x.shape, 6).contiguous())
    image = deep.decode(z.unsqueeze(-1).expand(*z.shape, 3).contiguous())
    for i in range(3):
        assert_close(moments[..., i], flat.moments(x), 1e-5)
    for i in range(6):
        assert_close(image[..., i], flat.decode(z), 1e-5)


def _inflated(tensor: torch.Tensor, dims: int) -> torch.Tensor:
    if tensor.ndim != dims + 2:
        return tensor
    kernel = tensor.shape[-1]
    center = torch.zeros(kernel)
    center[kernel // 2] = 1
    return tensor.unsqueeze(-1) * center


def test_without_weights_a_warning_says_so():
    with pytest.warns(UntrainedWarning, match="from scratch") as caught:
        AutoencoderKL(base_ch=8, ch_mult=(1,))
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("as_folder", [False, True])
def test_weights_are_loaded_without_a_warning(tmp_path, as_folder):
    model, x = small_model(seed=1), noise(1, 1, 4, 4, 4)
    save_weights(tmp_path / "model.safetensors", model.state_dict(), {})
    path = tmp_path if as_folder else str(tmp_path / "model.safetensors")
    again = AutoencoderKL(
        resolution=16, base_ch=8, ch_mult=(1, 2), num_res_blocks=1, norm_groups=2, ckpt_path=path
    ).eval()
    torch.testing.assert_close(again.moments(x), model.moments(x), rtol=0, atol=0)


def test_weights_of_another_architecture_are_refused_with_their_path(tmp_path):
    path = tmp_path / "wide.safetensors"
    save_weights(path, small_model(base_ch=16).state_dict(), {})
    with pytest.raises(WeightsError, match=r"wide\.safetensors.*of another shape"):
        AutoencoderKL(base_ch=8, ch_mult=(1, 2), num_res_blocks=1, ckpt_path=path)
