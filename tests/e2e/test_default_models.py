"""The models in the wheel: they work offline after an install and are as good as they say."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch

import ct_vae
from ct_vae.config.default_models import default_models, find_model
from ct_vae.io import read_volume, write_volume
from ct_vae.masks import body_mask
from ct_vae.models.model_folder import load_model_folder
from ct_vae.phantoms.make_phantom import make_phantom
from tests._asserts import assert_close

_MOST_MB = 20


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "scan.nii.gz"
    write_volume(make_phantom("thorax", 3, 8.0), path)
    return path


def test_they_are_whole_and_small_enough_for_a_wheel():
    assert "ct-f4" in default_models()
    size = 0
    for name in default_models():
        folder = find_model(name)
        loaded = load_model_folder(folder)
        assert loaded.config.name == name
        assert loaded.config.latent.std is not None
        card = (folder / "MODEL_CARD.md").read_text("utf-8")
        for word in ("CC BY 4.0", "doi", "not for", "RMSE"):
            assert word.lower() in card.lower(), word
        size += sum(file.stat().st_size for file in folder.iterdir())
    assert size < _MOST_MB * 1e6


@pytest.mark.slow
def test_every_command_takes_the_name_without_a_network_after_an_install(installed, scan, tmp_path):
    offline = ["unshare", "-rn"] if shutil.which("unshare") else []
    if offline and subprocess.run([*offline, "true"], check=False).returncode:
        offline = []

    def run(*words):
        done = subprocess.run(
            [*offline, installed / "bin" / "python", "-W", "ignore", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    cli = ("-m", "ct_vae")
    assert run("-c", "import ct_vae; print(ct_vae.__file__)").startswith(str(installed))
    (row,) = [r for r in json.loads(run(*cli, "models", "--json")) if r["name"] == "ct-f4"]
    assert row["compression"] == 16
    run(*cli, "encode", "ct-f4", scan, "-o", "latents")
    run(*cli, "decode", "ct-f4", "latents", "-o", "decoded")
    run(*cli, "evaluate", "ct-f4", scan, "-o", "evaluation", "--no-report", "--no-panels")
    run(*cli, "bundle", "ct-f4", "-o", "bundle")
    run(*cli, "export", "ct-f4", "-o", "network.ts", "--format", "torchscript")
    here = "import ct_vae; print(ct_vae.load_codec('ct-f4').identity.name)"
    assert run("-c", here).strip() == "ct-f4"
    original = read_volume(scan)
    (decoded,) = (tmp_path / "decoded").glob("*.nii.gz")
    assert read_volume(decoded).grid.distance_mm(original.grid) < 1e-3


def rmse(codec, volume, mask):
    """Inside the body, HU clipped to [-1000, 1000]."""
    decoded = codec.reconstruct(volume)
    a, b = (v.voxels[mask].astype(float).clip(-1000, 1000) for v in (volume, decoded))
    return np.sqrt(np.square(a - b).mean())


@pytest.mark.parametrize(
    ("path", "most"),
    [("nifti/abdomen_3mm.nii.gz", 68.0), ("nifti/pelvis_float32_qform.nii.gz", 27.0)],
)
def test_real_ct_that_was_not_trained_on_comes_back_as_the_card_says(real_data, path, most):
    volume = read_volume(real_data / path)
    assert rmse(ct_vae.load_codec("ct-f4"), volume, body_mask(volume).voxels) < most


def test_slabs_give_what_the_whole_volume_gives(scan):
    codec, volume = ct_vae.load_codec("ct-f4"), read_volume(scan)
    exact, whole = codec.encode(volume, "exact"), codec.encode(volume, "whole")
    assert_close(*map(torch.from_numpy, (exact.array, whole.array)), 1e-5)
    exact, whole = codec.decode(whole, "exact"), codec.decode(whole, "whole")
    assert_close(*map(torch.from_numpy, (exact.voxels, whole.voxels)), 1e-5)
