"""The calls that people write from memory: names, arguments and defaults that must not change."""

import json
import warnings

import nibabel as nib
import numpy as np
import pytest
import torch

from ct_vae.config.load import load_config
from ct_vae.errors import ConfigError
from ct_vae.models import (
    LATENT_SCALE,
    VQVAE,
    AutoencoderKL,
    MagvitVQVAE,
    UntrainedWarning,
    build_from_json,
)
from ct_vae.models.model_folder import load_model_folder
from ct_vae.training import train
from tests.cli._run import call

# Two levels of a few channels: a run takes a second.
MODEL = {"down_channels": [4, 8], "num_res_blocks": 1, "mid_attn": False, "norm_groups": 2}
SMALL = {k: tuple(v) if isinstance(v, list) else v for k, v in MODEL.items()}


class Patches(torch.utils.data.Dataset):
    """Soft tissue with noise in HU; map-style, and it never raises IndexError."""

    def __init__(self, dims, seed, count=4):
        generator = torch.Generator().manual_seed(seed)
        self.items = 40 + 200 * torch.randn(count, 1, *[8] * dims, generator=generator)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index % len(self.items)]


@pytest.fixture
def written(tmp_path):
    """Writes ``config.json`` with small numbers; keys are merged into its sections."""

    def write(model=(), training=(), **sections):
        tree = {
            "model": {**MODEL, **dict(model)},
            "training": {
                "output_dir": str(tmp_path / "run"),
                "samples": 4,
                "batch_size": 2,
                "patch_size": [8] * dict(model).get("spatial_dims", 3),
                "log_every": 2,
                **dict(training),
            },
            **sections,
        }
        path = tmp_path / "config.json"
        path.write_text(json.dumps(tree))
        return str(path)

    return write


@pytest.fixture
def unpictured(monkeypatch):
    """Pictures take longer than all else that a small run does."""
    monkeypatch.setattr("ct_vae.training.checkpoints.save_model.draw_pictures", lambda *_: [])


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line], [
        line for line in lines if "val_rmse_hu_full" in line
    ]


def made(kind, **options):
    with pytest.warns(UntrainedWarning):
        return kind(**SMALL, **options).eval()


@pytest.mark.parametrize("name", ["kl_f4", "kl_f8", "vq_f4", "magvit_f8", "sd_2d"])
def test_build_from_json(repository, name):
    path = repository / "configs" / f"{name}.json"
    with torch.device("meta"), pytest.warns(UntrainedWarning, match="from scratch"):
        model = build_from_json(str(path))
    kinds = {"kl": AutoencoderKL, "vq": VQVAE, "magvit": MagvitVQVAE}
    assert type(model) is kinds[load_config(path).model.latent_type]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_train_with_data_sets_of_patches(written, unpictured, dims):
    run = train(Patches(dims, 0), written({"spatial_dims": dims}), Patches(dims, 1))
    steps, validations = losses(run)
    assert steps
    assert validations[-1]["samples_seen"] == 4
    assert load_model_folder(run).model.spatial_dims == dims
    assert (run / "best" / "model.safetensors").is_file()


@pytest.mark.parametrize("recon_type", ["l1", "mse", "bce", "bce_focal"])
def test_every_recon_type(written, unpictured, recon_type):
    sections = {}
    if recon_type.startswith("bce"):
        sections["preprocess"] = {"model_range": [0, 1]}
    path = written(training={"recon_type": recon_type}, **sections)
    run = train(Patches(3, 0), path, Patches(3, 1))
    steps, validations = losses(run)
    assert all(np.isfinite(line["reconstruction"]) for line in steps)
    assert validations
    decoded = load_model_folder(run).model.eval().decode(torch.zeros(1, 4, 2, 2, 2))
    assert not recon_type.startswith("bce") or 0 <= decoded.min() <= decoded.max() <= 1


@pytest.mark.parametrize(
    ("latent_type", "reg_type", "kind"),
    [("kl", "kl", AutoencoderKL), ("vq", "vq", VQVAE), ("magvit", "vq", MagvitVQVAE)],
)
def test_every_latent_type_with_its_reg_type(written, unpictured, latent_type, reg_type, kind):
    model = {"latent_type": latent_type}
    path = written(model, {"reg_type": reg_type})
    run = train(Patches(3, 0), path, Patches(3, 1))
    assert type(load_model_folder(run).model) is kind
    other = {"kl": "vq", "vq": "kl"}[reg_type]
    with pytest.raises(ConfigError, match=f"reg_type '{other}' contradicts"):
        train(Patches(3, 0), written(model, {"reg_type": other}))


def test_codebook_size_is_ignored_by_kl(written):
    with pytest.warns(UntrainedWarning):
        with_size = build_from_json(written({"latent_type": "kl", "codebook_size": 512}))
    with pytest.warns(UntrainedWarning):
        without = build_from_json(written({"latent_type": "kl"}))
    arguments = made(AutoencoderKL, codebook_size=512)
    assert type(with_size) is AutoencoderKL
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (with_size, without)]
    assert shapes[0] == shapes[1] == {k: v.shape for k, v in arguments.state_dict().items()}


def test_ckpt_path_loads_weights_and_its_absence_is_warned_of(written, unpictured):
    run = train(Patches(3, 0), written())
    with pytest.warns(UntrainedWarning, match="no ckpt_path was given"):
        AutoencoderKL(**SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = AutoencoderKL(**SMALL, ckpt_path=run)
        built = build_from_json(written({"ckpt_path": str(run)}))
    saved = load_model_folder(run).model
    for loaded in (model, built):
        assert all(
            torch.equal(a, b)
            for a, b in zip(loaded.state_dict().values(), saved.state_dict().values(), strict=True)
        )
        assert loaded.scaling_factor == saved.scaling_factor != LATENT_SCALE


@pytest.mark.parametrize("kind", [AutoencoderKL, VQVAE, MagvitVQVAE])
def test_encode_normalizes_and_decode_denormalizes_by_the_latent_scale(kind):
    assert LATENT_SCALE == 0.18215
    model = made(kind)
    assert model.scaling_factor == LATENT_SCALE
    x = torch.rand(1, 1, 8, 8, 8)
    plain = model.encode(x).mode() if kind is AutoencoderKL else model.encode(x).latent
    scaled = model.encode(x, normalize=True)
    torch.testing.assert_close(scaled, plain * 0.18215)
    torch.testing.assert_close(model.decode(scaled, denorm=True), model.decode(plain))
    assert not torch.equal(model.decode(scaled), model.decode(plain))
    assert torch.equal(model.encode_stage_2_inputs(x), plain)


@pytest.mark.parametrize("kind", [AutoencoderKL, VQVAE, MagvitVQVAE])
def test_one_loop_drives_every_model(kind):
    model = made(kind)
    x = torch.rand(2, 1, 8, 8, 8)
    for sample_posterior in (True, False):
        reconstruction, _ = model(x, sample_posterior=sample_posterior)
        assert reconstruction.shape == x.shape
    first, second = (model(x, sample_posterior=False)[0] for _ in range(2))
    torch.testing.assert_close(first, second)
    generator = torch.Generator().manual_seed(0)
    latent = model.encode(x, normalize=True, sample=True, generator=generator)
    assert model.decode(latent, denorm=True).shape == x.shape


def test_the_posterior_samples_with_a_generator():
    posterior = made(AutoencoderKL).encode(torch.rand(2, 1, 8, 8, 8))
    draws = [posterior.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(posterior.mode(), posterior.mean)
    torch.testing.assert_close(posterior.std, torch.exp(0.5 * posterior.logvar))
    assert posterior.kl().shape == (2,)


def test_attention_is_placed_by_the_downsampling_factor():
    """A factor of 8 means the 32 x 32 map of a 256 x 256 image."""
    numbers = {"down_channels": (4, 4, 8, 8), "num_res_blocks": 1, "mid_attn": False}
    with pytest.warns(UntrainedWarning):
        model = AutoencoderKL(2, norm_groups=2, attn_resolutions=(8,), **numbers)
    names = [name for name, _ in model.named_modules() if name.endswith(".q")]
    assert names == ["encoder.down.3.attn.0.q", *(f"decoder.up.3.attn.{n}.q" for n in (0, 1))]
    assert [stage.sides for stage in model.describe() if stage.attention] == [(32, 32)] * 2


def test_the_defaults_in_2d_are_those_of_stable_diffusion(repository):
    with torch.device("meta"), pytest.warns(UntrainedWarning):
        model = AutoencoderKL(spatial_dims=2, in_channels=3, out_channels=3)
    with torch.device("meta"), pytest.warns(UntrainedWarning):
        from_file = build_from_json(repository / "configs" / "sd_2d.json")
    # That of CompVis and of diffusers has as many.
    assert sum(p.numel() for p in model.parameters()) == 83_653_863
    names = {"encoder.down.0.block.0.conv1.weight", "decoder.up.3.upsample.conv.weight"}
    assert names | {"quant_conv.weight", "post_quant_conv.bias"} <= model.state_dict().keys()
    assert model.state_dict().keys() == from_file.state_dict().keys()
    assert model.factor == (8, 8)


def test_sample_writes_reconstructions_and_random_decodes(written, unpictured, tmp_path):
    path = written(
        {"down_channels": [2, 4]},
        data={"phantoms": {"train": 1, "val": 1, "anatomies": ["head"], "spacing_mm": [8, 8, 8]}},
    )
    run = train(None, path)
    status = call("sample", run, "-o", tmp_path / "out", "--count", 1)
    assert status[0] == 0, status
    found = sorted(p.name for p in (tmp_path / "out").rglob("*.nii.gz"))
    assert any("random" in name for name in found)
    assert any("random" not in name for name in found)
    assert all(
        np.isfinite(nib.load(p).get_fdata()).all() for p in (tmp_path / "out").rglob("*.nii.gz")
    )
    assert list((tmp_path / "out").rglob("*.png"))
