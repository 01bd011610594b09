import json

import pytest
import torch
from torch import nn

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.config.model import ModelConfig
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import ConfigError, InputError
from ct_vae.models import AutoencoderKL, build_untrained
from ct_vae.models.model_folder import load_model_folder, save_model_folder
from tests._small import SMALL_CODES, SMALL_MODEL
from tests.models._shapes import NUMBERS, seen_shapes
from tests.models._small import noise, randomise, small_model

OUTPUTS = [
    ({}, nn.Identity),
    ({"output_activation": "identity"}, nn.Identity),
    ({"output_activation": "sigmoid"}, nn.Sigmoid),
    ({"tanh_out": True}, nn.Tanh),
]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("numbers", "kind"), OUTPUTS)
def test_raw_outputs_become_images_through_the_activation(dims, numbers, kind):
    model = small_model(spatial_dims=dims, **numbers)
    z = noise(1, 4, *[2] * dims)
    assert isinstance(model.output_activation, kind)
    assert torch.equal(model.output_activation(model.decode_raw(z)), model.decode(z))
    assert torch.equal(model.decode_raw(z), small_model(spatial_dims=dims).decode(z))


def test_a_sigmoid_gives_shares_wherever_images_are_made():
    model, z = small_model(output_activation="sigmoid"), 9 * noise(1, 4, 2, 2, 2)
    x = noise(1, 1, 4, 4, 4)
    for image in (model.decode(z), model.decode_stage_2_outputs(z), model(x)[0]):
        assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("kind", ["vq", "magvit"])
def test_models_with_codes_have_it_too(kind):
    model = build_untrained(SMALL_CODES[kind].model_copy(update={"output_activation": "sigmoid"}))
    quantized = model.encode(noise(1, 1, 8, 8, 8))
    expected = torch.sigmoid(model.decode_raw(quantized.latent))
    torch.testing.assert_close(model.decode(quantized.latent), expected)
    torch.testing.assert_close(model.decode_indices(quantized.indices), expected)


def test_latents_that_do_not_fit_are_refused_before_the_activation_too():
    with pytest.raises(InputError, match="expected"):
        small_model().decode_raw(torch.zeros(1, 3, 2, 2, 2))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (
            {"output_activation": "relu"},
            "output_activation: Input should be 'identity' or 'sigmoid'",
        ),
        ({"output_activation": "sigmoid", "tanh_out": True}, "tanh_out contradicts"),
    ],
)
def test_outputs_that_there_are_not_are_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        AutoencoderKL(base_ch=8, ch_mult=(1,), **numbers)


@pytest.mark.parametrize("kind", ["kl", "vq", "magvit", "causal"])
def test_the_last_layer_is_the_kernel_that_makes_the_image(kind):
    causal = {"latent_type": "magvit", "causal_axis": 2, "norm": "rms", "norm_groups": None}
    base = {"kl": SMALL_MODEL, **SMALL_CODES}.get(kind)
    numbers = {"down_channels": (4, 8), "mid_attn": False}
    model = build_untrained(base or ModelConfig(**numbers, **causal))
    kernel = model.last_layer
    assert any(kernel is p for p in model.parameters())
    assert kernel.shape == (1, 4, 3, 3, 3)
    # Doubling kernel and offset doubles the image.
    latent = noise(1, model.latent_channels, 2, 2, 2)
    before = model.decode_raw(latent)
    with torch.no_grad():
        for parameter in model.decoder.conv_out.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(model.decode_raw(latent), 2 * before)


def test_a_model_folder_brings_its_sigmoid(tmp_path):
    config = SMALL_MODEL.model_copy(update={"output_activation": "sigmoid"})
    model = build_untrained(config)
    randomise(model)
    folder_config = ModelFolderConfig(
        name="shares",
        model=config,
        preprocess=PreprocessConfig(model_range=(0.0, 1.0)),
        latent=LatentConfig(scaling_factor=1.0),
    )
    save_model_folder(tmp_path / "model", model, folder_config, "# shares\n", {})
    written = json.loads((tmp_path / "model" / "config.json").read_text())
    assert written["model"]["output_activation"] == "sigmoid"
    loaded = load_model_folder(tmp_path / "model").model
    z = noise(1, 4, 2, 2, 2)
    assert torch.equal(loaded.decode(z), model.eval().decode(z))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", ["kl", "vq", "magvit"])
@torch.no_grad()
def test_a_model_of_any_precision_decodes_its_own_latents(kind, dtype):
    base = {"kl": SMALL_MODEL, **SMALL_CODES}[kind]
    model = build_untrained(base).to(dtype).eval()
    model.scaling_factor = 0.5
    x = noise(1, 1, 8, 8, 8).to(dtype)
    plain = model.encode_stage_2_inputs(x)
    for image in (
        model.decode(model.encode(x, normalize=True), denorm=True),
        model.decode_stage_2_outputs(plain),
        model.decode_raw(plain),
        model.decode(plain.float()),
        model(x)[0],
    ):
        assert image.dtype == dtype
        assert image.shape == x.shape
        assert image.isfinite().all()


@torch.no_grad()
def test_a_scaled_latent_is_divided_in_its_own_precision():
    model = small_model().bfloat16()
    model.scaling_factor = 1 / 3
    z = noise(1, 4, 2, 2, 2)
    assert torch.equal(model.decode(z, denorm=True), model.decode(z / model.scaling_factor))


@pytest.mark.parametrize("kind", ["kl", "vq", "magvit"])
def test_the_summary_tells_size_factor_and_channels(kind):
    model = build_untrained({"kl": SMALL_MODEL, **SMALL_CODES}[kind])
    count = sum(p.numel() for p in model.parameters())
    text = repr(model)
    assert text.startswith(f"{type(model).__name__}(3-D, factor 4 x 4 x 4, ")
    assert f"{model.latent_channels} latent channels, 1 image channel, {count:,} " in text
    assert ("codes" in text) == (kind != "kl")
    assert "\n" not in text


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_stage_has_the_shape_that_the_rules_give(dims):
    shapes = seen_shapes(small_model(spatial_dims=dims, **NUMBERS), noise(1, 1, *[16] * dims))

    def expect(name: str, channels: int, side: int) -> None:
        assert shapes[name] == (1, channels, *[side] * dims), name

    expect("encoder.conv_in", 8, 16)
    for level, channels, side in [(0, 8, 16), (1, 16, 8), (2, 32, 4)]:
        for block in (0, 1):
            expect(f"encoder.down.{level}.block.{block}", channels, side)
        for block in (0, 1, 2):
            expect(f"decoder.up.{level}.block.{block}", channels, side)
    expect("encoder.down.0.downsample", 8, 8)
    expect("encoder.down.1.downsample", 16, 4)
    expect("encoder.mid", 32, 4)
    expect("encoder.conv_out", 8, 4)
    expect("quant_conv", 10, 4)
    expect("post_quant_conv", 4, 4)
    expect("decoder.conv_in", 32, 4)
    expect("decoder.mid", 32, 4)
    expect("decoder.up.2.upsample", 32, 8)
    expect("decoder.up.1.upsample", 16, 16)
    expect("decoder.norm_out", 8, 16)
    expect("decoder.conv_out", 1, 16)
    assert "encoder.down.0.block.2" not in shapes
    assert "decoder.up.0.block.3" not in shapes


@pytest.mark.parametrize("mid_attn", [False, True])
def test_attention_sits_where_the_factor_says_and_in_the_middle(mid_attn):
    model = small_model(**NUMBERS, mid_attn=mid_attn)
    places = {n for n, m in model.named_modules() if isinstance(m, SpatialSelfAttention)}
    levels = {f"encoder.down.1.attn.{i}" for i in range(2)}
    levels |= {f"decoder.up.1.attn.{i}" for i in range(3)}
    middle = {"encoder.mid.attn_1", "decoder.mid.attn_1"} if mid_attn else set()
    assert places == levels | middle


@pytest.mark.parametrize(("ch_mult", "width"), [((1, 3, 9), 24), ((4, 1), 32), ((2,), 16)])
def test_the_widest_map_of_full_size_is_of_the_two_finest_levels(ch_mult, width):
    model = small_model(ch_mult=ch_mult)
    assert model.full_resolution_width == width
    shapes = seen_shapes(model, noise(1, 1, 16, 16, 16))
    assert max(shape[1] for shape in shapes.values() if shape[2:] == (16, 16, 16)) == width
