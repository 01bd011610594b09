import pytest
import torch

from ct_vae.config.model import ModelConfig
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.errors import WeightsError
from ct_vae.models import build_model, build_untrained
from ct_vae.models.model_folder import save_model_folder

SMALL = {"resolution": 16, "base_ch": 8, "ch_mult": (1, 2), "num_res_blocks": 1}
FSQ = {"latent_type": "vq", "quantizer": "fsq", "levels": (5, 4)}
EMA = {"latent_type": "vq", "codebook_size": 8, "embed_dim": 3}
MAGVIT = {"latent_type": "magvit", "levels": (5, 4)}
CAUSAL = MAGVIT | {"norm": "rms", "mid_attn": False, "causal_axis": 0}


def config(**numbers) -> ModelConfig:
    return ModelConfig(**(SMALL | numbers))


def saved(folder, **numbers):
    of = config(**numbers)
    text = ModelFolderConfig(
        name="x",
        model=of,
        preprocess=PreprocessConfig(),
        latent=LatentConfig(scaling_factor=0.5),
    )
    model = build_untrained(of)
    save_model_folder(folder, model, text, "# x\n", {})
    return model


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        ({"padding_mode": "replicate"}, {}, "padding_mode is replicate there and zeros here"),
        ({"norm_groups": 2}, {}, r"norm_groups is \(2, 2, 2\) there and \(8, 8, 16\) here"),
        ({"norm": "layer"}, {}, "norm is layer there and group here"),
        ({"inner_norm": False}, {}, "inner_norm is False there and True here"),
        ({"tanh_out": True}, {}, "tanh_out is True there and False here"),
        ({}, {"output_activation": "sigmoid"}, "output_activation is identity there and sigmoid"),
        ({"head_activation": False}, {}, "head_activation is False there and True here"),
        ({"upsample_mode": "linear"}, {}, "upsample_mode is linear there and nearest here"),
        ({"strides": ((2, 2, 1),)}, {}, r"strides is \(\(2, 2, 1\),\) there and \(\(2, 2, 2\),\)"),
        (
            {"patch_size": (2, 4, 1)},
            {"patch_size": (4, 2, 1)},
            r"patch_size is \(2, 4, 1\) there and \(4, 2, 1\) here",
        ),
        ({"attn_resolutions": (2,)}, {}, r"attention at the levels is \(False, True\) there"),
        ({"mid_attn": False}, {}, "mid_attn is False there and True here"),
        (FSQ, {"levels": (4, 5)}, r"levels is \(5, 4\) there and \(4, 5\) here"),
        (FSQ, {"quantizer": "lfq", "embed_dim": 2, "levels": None}, "quantizer is fsq there and l"),
        (EMA, {"normalize_codes": True}, "normalize_codes is False there and True here"),
        (MAGVIT, {"downsample_mode": "blur"}, "downsample_mode is conv there and blur here"),
        (CAUSAL, {"causal_axis": 1}, "causal_axis is 0 there and 1 here"),
    ],
)
def test_what_would_give_something_else_is_refused_by_name(tmp_path, there, here, words):
    saved(tmp_path, **there)
    with pytest.raises(WeightsError, match=words) as caught:
        build_model(config(**(there_of_kind(there) | here)), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def there_of_kind(there):
    """What both networks have in common: all of it for models with codes, else nothing."""
    return there if "latent_type" in there else {}


@pytest.mark.parametrize("numbers", [{}, {"tanh_out": True}, FSQ, EMA, MAGVIT, CAUSAL])
@pytest.mark.parametrize("of", ["folder", "file"])
def test_saved_state_is_loaded_again(tmp_path, numbers, of):
    model = saved(tmp_path, **numbers)
    loaded = build_model(
        config(**numbers), tmp_path if of == "folder" else tmp_path / "model.safetensors"
    )
    assert loaded.scaling_factor == 0.5
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({"norm_groups": 8, "ch_mult": (1, 1)}, {"ch_mult": (1, 1)}),
        ({"output_activation": "identity"}, {}),
        ({"dropout": 0.5, "checkpointing": True, "resolution": 32}, {"stage_2_inputs": "sample"}),
        ({"encoder_mid": False, "decoder_mid": False, "mid_attn": False}, {"mid_attn": True}),
    ],
)
def test_other_words_for_the_same_network_are_no_contradiction(tmp_path, there, here):
    saved(tmp_path, **there)
    common = {k: v for k, v in there.items() if k in ("encoder_mid", "decoder_mid")}
    assert build_model(config(**common, **here), tmp_path).scaling_factor == 0.5


def test_weights_of_another_depth_are_reported_by_their_names(tmp_path):
    saved(tmp_path, ch_mult=(1, 2, 2), padding_mode="replicate")
    with pytest.raises(WeightsError, match=r"do not fit the model: .* unexpected"):
        build_model(config(), tmp_path)
