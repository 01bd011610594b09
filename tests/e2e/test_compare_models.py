import os
import runpy
import subprocess
import sys

import pytest
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi

from ct_vae.io import write_volume
from ct_vae.models import AutoencoderKL
from ct_vae.phantoms.make_phantom import make_phantom
from tests.evaluation.rate_distortion._curves import RATES, power_curve

# As in the configuration files of MedVAE, which do not state the groups.
MEDVAE = """
embed_dim: 1
ddconfig:
  double_z: True
  z_channels: 1
  resolution: 64
  in_channels: 1
  out_ch: 1
  ch: 32
  ch_mult: [1, 2]
  num_res_blocks: 1
  attn_resolutions: []
  dropout: 0.0
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Untrained networks with the names and sizes of OpenVAE-3D and the names of MedVAE."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    openvae = AutoencoderKlMaisi(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        num_channels=(64, 128, 256),
        latent_channels=4,
        num_res_blocks=(2, 2, 2),
        norm_num_groups=32,
        attention_levels=(False, False, False),
        num_splits=1,
        norm_float16=False,
    )
    torch.save(openvae.state_dict(), folder / "OpenVAE-3D.pt")
    with pytest.warns(UserWarning, match="from scratch"):
        medvae = AutoencoderKL(
            resolution=64,
            base_ch=32,
            ch_mult=(1, 2),
            num_res_blocks=1,
            z_channels=1,
            embed_dim=1,
            norm_groups=32,
        )
    torch.save({"state_dict": medvae.state_dict()}, folder / "vae.ckpt")
    (folder / "vae.yaml").write_text(MEDVAE)
    return folder


@pytest.mark.slow
def test_weights_of_other_projects_are_measured_beside_the_codecs(weights, tmp_path, repository):
    pytest.importorskip("yaml")
    volume = make_phantom("abdomen", 3, 10.0, (40, 36, 8))
    write_volume(volume, tmp_path / "ct.nii.gz")
    environment = {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(repository),
        "VOLUMES": f"small={tmp_path / 'ct.nii.gz'}",
        "MODELS": "ct-f4",
        "OUT": str(tmp_path / "out"),
    }
    done = subprocess.run(
        [
            "bash",
            str(repository / "scripts" / "compare_models.sh"),
            str(weights / "OpenVAE-3D.pt"),
            f"MedVAE={weights / 'vae.ckpt'},{weights / 'vae.yaml'}",
        ],
        env=os.environ | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "groups" in done.stdout
    page = (tmp_path / "out" / "quality.md").read_text()
    rows = {line.split(" |")[0].strip("| "): line for line in page.splitlines() if line[:1] == "|"}
    for name in ("ct-f4", "OpenVAE-3D", "MedVAE"):
        assert f"## {name}" in page
        # Errors and the noise that is kept, if there are flat regions.
        body = float(rows[name].split("|")[2].split("/")[0])
        assert 0 < body < 3000
    assert rows["MAISI"].split("|")[2].strip() == "\N{EN DASH}"
    assert "- **ct-f4** and JPEG 2000: small: " in page
    assert (tmp_path / "out" / "quality.png").stat().st_size > 10_000


def test_without_weights_the_usage_is_shown(repository):
    script = str(repository / "scripts" / "compare_models.sh")
    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "[NAME=]WEIGHTS[,CONFIG]" in done.stderr


def test_statements_say_where_curves_cross(repository):
    page = runpy.run_path(str(repository / "scripts" / "quality_page.py"))
    flat, steep = power_curve("model", 10, 0.3, RATES), power_curve("sperr", 5, 1, RATES)
    # They are equal where 10 r^-0.3 = 5 r^-1.
    at = f"{0.5 ** (1 / 0.7):.3f}"
    tell = page["statement"]
    assert tell(flat, steep, "body") == f"below it from 0.010 to {at}, above it elsewhere"
    assert tell(steep, flat, "body") == f"below it from {at} to 1.000, above it elsewhere"
    better = power_curve("model", 4, 1, RATES)
    assert tell(better, steep, "body") == "below it at all common rates, 0.010 to 1.000"
    assert tell(steep, better, "body") == "above it from 0.010 to 1.000"
    assert tell(better, power_curve("hevc", 4, 1, RATES + 9), "body").startswith("not comparable")
