import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ct_vae
from ct_vae.config.model_folder import LatentConfig
from ct_vae.convert_weights import export_weights
from ct_vae.io import read_latent, read_volume, write_volume
from ct_vae.models.model_folder import load_model_folder, save_model_folder
from ct_vae.models.weights import load_metadata
from tests._asserts import assert_close, assert_only_files
from tests._small import ct_volume
from tests.cli._run import call
from tests.models._latent_diffusion import LatentDiffusion
from tests.models._small import noise, randomise, small_model

MODEL_FILES = {"config.json", "model.safetensors", "MODEL_CARD.md", "SHA256SUMS"}
MONAI_LIKE = {"double_z": False, "head_activation": False, "decoder_blocks": 1}


def latent_diffusion(path, image=3):
    model = LatentDiffusion(image=image)
    randomise(model)
    save_file(model.state_dict(), path)
    return model.eval()


def peer_files(folder, form, **numbers):
    model = small_model(**numbers)
    state, config = export_weights(model, form)
    save_file(state, folder / "x.safetensors")
    (folder / "x.json").write_text(json.dumps(config))
    return model


def converted(*args):
    code, text = call("convert", *args)
    assert code == 0, text
    return text


def test_stable_diffusion_weights_become_a_model_folder(tmp_path):
    theirs = latent_diffusion(tmp_path / "vae.safetensors")
    text = converted(tmp_path / "vae.safetensors", "-o", tmp_path / "sd")
    assert_only_files(tmp_path / "sd", MODEL_FILES)
    loaded = load_model_folder(tmp_path / "sd")
    x = noise(1, 3, 8, 8)
    with torch.no_grad():
        assert_close(loaded.model.moments(x), theirs.moments(x), 1e-5)
    assert loaded.config.name == "sd"
    assert loaded.config.preprocess.model_range == (-1, 1)
    assert loaded.config.latent.scaling_factor == 0.18215
    card = (tmp_path / "sd" / "MODEL_CARD.md").read_text()
    told = (
        "format: CompVis",
        "architecture: 2-D, 3 to 3 image channels",
        "assumed: 32 groups",
        "assumed: latent scaling factor 0.18215",
        "assumed: HU -1000 to 1000 are represented as -1 to 1",
    )
    for words in told:
        assert words in text
        assert words in card
    assert "- HU -1000 to 1000 are represented as -1 to 1;" in card
    assert str(tmp_path) not in card
    metadata = load_metadata(tmp_path / "sd")
    assert json.loads(metadata["conversion"])[0].startswith("format: CompVis")


@pytest.mark.parametrize("how", ["central", "averaged"])
def test_an_inflated_model_encodes_and_decodes_a_volume(tmp_path, how):
    latent_diffusion(tmp_path / "vae.safetensors")
    options = ("--inflate", how, "--image-channels", 1, "--name", "inflated")
    text = converted(tmp_path / "vae.safetensors", "-o", tmp_path / "m", *options)
    assert f"changed: {how} inflation" in text
    assert "changed: 3 image channels merged" in text
    write_volume(ct_volume(), tmp_path / "a.nii.gz")
    assert call("encode", tmp_path / "m", tmp_path / "a.nii.gz", "-o", tmp_path)[0] == 0
    latent = read_latent(tmp_path / "a_latent.nii.gz")
    assert latent.record.model.name == "inflated"
    assert latent.record.factor == (2, 2, 1)
    codec = ct_vae.load_codec(tmp_path / "m")
    decoded = codec.decode(codec.encode(read_volume(tmp_path / "a.nii.gz")))
    assert np.isfinite(decoded.voxels).all()


def test_a_model_folder_is_inflated_too_and_keeps_its_window(tmp_path):
    latent_diffusion(tmp_path / "vae.safetensors", image=1)
    window = ("--window-hu", -160, 240, "--model-range", 0, 1)
    text = converted(tmp_path / "vae.safetensors", "-o", tmp_path / "flat", *window)
    assert "given: HU -160 to 240 are represented as 0 to 1" in text
    options = ("--inflate", "averaged", "--depth-stride", 2)
    text = converted(tmp_path / "flat", "-o", tmp_path / "deep", *options)
    assert "origin: model 'flat'" in text
    config = load_model_folder(tmp_path / "deep").config
    assert config.model.factor == (2, 2, 2)
    assert config.preprocess.window_hu == (-160, 240)
    assert config.preprocess.model_range == (0, 1)


def test_maisi_brings_its_own_mapping_and_monai_must_be_told(tmp_path):
    peer_files(tmp_path, "maisi", **MONAI_LIKE, upsample_mode="linear")
    given = ("--config", tmp_path / "x.json")
    text = converted(tmp_path / "x.safetensors", "-o", tmp_path / "m", *given)
    assert "read, as in every MAISI network: HU -1000 to 1000 are represented" in text
    assert load_model_folder(tmp_path / "m").config.preprocess.model_range == (0, 1)
    peer_files(tmp_path, "monai", **MONAI_LIKE)
    code, text = call("convert", tmp_path / "x.safetensors", "-o", tmp_path / "n", *given)
    assert code == 2
    assert "--model-range" in text
    assert not (tmp_path / "n").exists()
    converted(tmp_path / "x.safetensors", "-o", tmp_path / "n", *given, "--model-range", -1, 1)
    assert load_model_folder(tmp_path / "n").config.preprocess.model_range == (-1, 1)


@pytest.mark.parametrize(
    ("form", "numbers", "name"),
    [
        ("compvis", {"spatial_dims": 2, "base_ch": 32, "norm_groups": 32}, "model.safetensors"),
        ("diffusers", {"spatial_dims": 2}, "diffusion_pytorch_model.safetensors"),
        ("monai", MONAI_LIKE, "model.safetensors"),
        ("maisi", MONAI_LIKE | {"upsample_mode": "linear"}, "model.safetensors"),
    ],
)
def test_there_and_back_again_nothing_has_changed(tmp_path, form, numbers, name):
    peer_files(tmp_path, form, **numbers)
    given = ("--config", tmp_path / "x.json", "--model-range", -1, 1)
    converted(tmp_path / "x.safetensors", "-o", tmp_path / "m", *given)
    text = converted(tmp_path / "m", "-o", tmp_path / "back", "--to", form)
    assert "the network takes HU -1000 to 1000 as -1 to 1" in text
    assert_only_files(tmp_path / "back", {"config.json", name})
    before, after = load_file(tmp_path / "x.safetensors"), load_file(tmp_path / "back" / name)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert (tmp_path / "back" / "config.json").read_text() == json.dumps(
        json.loads((tmp_path / "x.json").read_text()), indent=2
    ) + "\n"
    metadata = load_metadata(tmp_path / "back" / name)
    assert json.loads(metadata["window_hu"]) == [-1000, 1000]
    converted(tmp_path / "m", "-o", tmp_path / "one.safetensors", "--to", form)
    assert (tmp_path / "one.json").exists()
    assert load_file(tmp_path / "one.safetensors").keys() == before.keys()


def test_weights_in_double_precision_are_kept_in_single(tmp_path):
    save_file(LatentDiffusion(image=1).double().state_dict(), tmp_path / "vae.safetensors")
    converted(tmp_path / "vae.safetensors", "-o", tmp_path / "m")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}


def test_what_is_there_is_kept_unless_told_otherwise(tmp_path):
    latent_diffusion(tmp_path / "vae.safetensors")
    args = (tmp_path / "vae.safetensors", "-o", tmp_path / "m")
    converted(*args)
    before = (tmp_path / "m" / "MODEL_CARD.md").read_bytes()
    code, text = call("convert", *args, "--name", "other")
    assert (code, "already exists" in text) == (2, True)
    assert (tmp_path / "m" / "MODEL_CARD.md").read_bytes() == before
    converted(*args, "--name", "other", "--overwrite")
    assert load_model_folder(tmp_path / "m").config.name == "other"
    converted(tmp_path / "m", "-o", tmp_path / "e", "--to", "compvis")
    assert call("convert", tmp_path / "m", "-o", tmp_path / "e", "--to", "compvis")[0] == 2
    converted(tmp_path / "m", "-o", tmp_path / "e", "--to", "compvis", "--overwrite")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["absent.safetensors", "-o", "m"], 4, "no such file or folder"),
        (["vae.safetensors", "-o", "m", "--config", "absent.json"], 2, "no such file"),
        (["vae.safetensors", "-o", "m", "--config", "bad.json"], 4, "has unknown keys: nonsense"),
        (["vae.safetensors", "-o", "m.safetensors"], 2, "names a file"),
        (["vae.safetensors", "-o", "m.bin"], 2, "names a file"),
        (["own", "-o", "m.ckpt", "--to", "monai"], 2, "m.ckpt names another kind of file"),
        (
            ["own", "-o", "bad.json", "--to", "monai", "--overwrite"],
            2,
            "bad.json names another kind of file",
        ),
        (
            ["own", "-o", "own", "--to", "compvis", "--overwrite"],
            2,
            "belongs to a model folder of this",
        ),
        (
            ["own", "-o", "own", "--to", "diffusers", "--overwrite"],
            2,
            "belongs to a model folder of this",
        ),
        (
            ["own", "-o", "own", "--inflate", "central", "--overwrite"],
            2,
            "is the source of the conversion",
        ),
        (["x2d.safetensors", "-o", "m"], 4, "x2d.safetensors: diffusers weights do not determine"),
        (["x2d.safetensors", "-o", "m"], 4, "--config FILE"),
        (["vae.safetensors", "-o", "m", "--to", "monai"], 4, "a file, not a model folder"),
        (["vae.safetensors", "-o", "m", "--to", "onnx"], 2, "onnx"),
        (["vae.safetensors", "-o", "m", "--image-channels", "3"], 2, "image-channels"),
        (["vae.safetensors", "-o", "m", "--depth-stride", "2"], 2, "depth stride"),
        (["vae.safetensors", "-o", "m", "--window-hu", "5", "5"], 2, "from low to high"),
        (["own", "-o", "m"], 2, "is a model folder already"),
        (["own", "-o", "m", "--inflate", "central"], 2, "only 2-D networks can be inflated"),
        (["own", "-o", "m", "--inflate", "central", "--config", "bad.json"], 2, "its own config"),
        (["own", "-o", "m", "--to", "diffusers"], 2, "spatial_dims 3"),
        (["own", "-o", "m", "--to", "monai", "--name", "x"], 2, "--to can be used with"),
        (["x.ckpt", "-o", "m"], 4, "damaged, or a pickle with more"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(tmp_path, monkeypatch, model_folder, args, code, words):
    monkeypatch.chdir(tmp_path)
    latent_diffusion(tmp_path / "vae.safetensors")
    (tmp_path / "bad.json").write_text('{"nonsense": 1}')
    (tmp_path / "x.ckpt").write_bytes(b"\x80\x02nonsense")
    (tmp_path / "own").symlink_to(model_folder)
    save_file(export_weights(small_model(spatial_dims=2), "diffusers")[0], "x2d.safetensors")
    before = sorted(tmp_path.iterdir())
    weights = (model_folder / "model.safetensors").read_bytes()
    told = call("convert", *args)
    assert told[0] == code, told
    assert words in told[1]
    assert "Traceback" not in told[1]
    assert sorted(tmp_path.iterdir()) == before
    assert (model_folder / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        ("compvis", {"spatial_dims": 2, "base_ch": 32, "norm_groups": 32}),
        ("diffusers", {"spatial_dims": 2}),
        ("monai", MONAI_LIKE),
        ("maisi", MONAI_LIKE | {"upsample_mode": "linear"}),
    ],
)
def test_an_export_of_ours_comes_back_with_window_range_and_scale(tmp_path, form, numbers):
    peer_files(tmp_path, form, **numbers)
    window = ("--window-hu", -160, 240, "--model-range", -2, 3)
    given = ("--config", tmp_path / "x.json")
    converted(tmp_path / "x.safetensors", "-o", tmp_path / "m", *given, *window)
    rescale(tmp_path / "m", 0.75)
    converted(tmp_path / "m", "-o", tmp_path / "out", "--to", form)
    text = converted(tmp_path / "out", "-o", tmp_path / "back")
    assert "read, from the export of this package: HU -160 to 240 are represented" in text
    config = load_model_folder(tmp_path / "back").config
    assert config == load_model_folder(tmp_path / "m").config.model_copy(update={"name": "back"})
    assert config.latent.scaling_factor == 0.75
    text = converted(tmp_path / "out", "-o", tmp_path / "told", "--window-hu", -1, 1)
    assert "assumed: HU -1 to 1 are represented as -2 to 3" in text


def rescale(folder, factor):
    """Give a model folder another latent scale, and an orientation that is not the usual."""
    loaded = load_model_folder(folder)
    preprocess = loaded.config.preprocess.model_copy(
        update={"axcodes": "LPS", "spacing_mm": (1.0, 1.0, 2.0)}
    )
    config = loaded.config.model_copy(
        update={"latent": LatentConfig(scaling_factor=factor), "preprocess": preprocess}
    )
    save_model_folder(folder, loaded.model, config, "# m\n", {})


def test_a_yaml_configuration_is_read(tmp_path):
    """As MedVAE gives one: a ddconfig without groups."""
    model = small_model(base_ch=32, norm_groups=32)
    save_file(model.state_dict(), tmp_path / "vae.safetensors")
    text = """
model:
  params:
    embed_dim: 4
    ddconfig: {double_z: true, z_channels: 4, resolution: 16, in_channels: 1, out_ch: 1, ch: 32,
               ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [], dropout: 0.0}
"""
    (tmp_path / "vae.yaml").write_text(text)
    options = ("--config", tmp_path / "vae.yaml", "-o", tmp_path / "out")
    assert "32 groups" in converted(tmp_path / "vae.safetensors", *options)
    for wrong in ("- a", "a: [", "\x00"):
        (tmp_path / "wrong.yaml").write_text(wrong)
        code, told = call(
            "convert", tmp_path / "vae.safetensors", "--config", tmp_path / "wrong.yaml",
            "-o", tmp_path / "no",
        )  # fmt: skip
        assert code == 2, told
        assert "wrong.yaml" in told
    assert not (tmp_path / "no").exists()


def test_a_latent_shift_goes_into_the_model_folder_and_out_again(tmp_path):
    model = small_model(spatial_dims=2, norm_groups=2)
    model.shift_factor = 0.25
    state, config = export_weights(model, "diffusers")
    save_file(state, tmp_path / "x.safetensors")
    (tmp_path / "x.json").write_text(json.dumps(config))
    converted(tmp_path / "x.safetensors", "--config", tmp_path / "x.json", "-o", tmp_path / "m")
    assert load_model_folder(tmp_path / "m").model.shift_factor == 0.25
    code, told = call("info", tmp_path / "m")
    assert code == 0
    assert "0.25" in told
    converted(tmp_path / "m", "--to", "diffusers", "-o", tmp_path / "d")
    assert json.loads((tmp_path / "d" / "config.json").read_text())["shift_factor"] == 0.25


def test_a_network_that_no_format_has_names_the_other_ways_out(tmp_path):
    from ct_vae.errors import ConfigError

    with pytest.raises(ConfigError, match=r"norm 'rms'.*ct-vae bundle.*ct-vae export"):
        export_weights(small_model(norm="rms", norm_groups=None), "diffusers")
