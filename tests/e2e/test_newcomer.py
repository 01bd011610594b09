"""The first steps of new users work with nothing but the wheel, away from the checkout."""

import shutil
import subprocess

import pytest

from ct_vae.io import write_volume
from tests._small import ct_volume
from tests.io._series import make_series, write_series


@pytest.mark.slow
def test_new_users_get_through_their_first_steps(repository, installed, tmp_path):
    write_series(tmp_path / "series", make_series(n=8, sides=(24, 20)))
    shutil.make_archive(str(tmp_path / "scan"), "zip", tmp_path / "series")
    for name in "abcd":
        write_volume(ct_volume((32, 32, 32), seed=ord(name)), tmp_path / "in" / f"{name}.nii.gz")
    script = repository / "scripts" / "newcomer.sh"
    options = {
        "--venv": installed,
        "--scan": tmp_path / "scan.zip",
        "--ct": tmp_path / "in",
        "--train-seconds": 0,
        "--out": tmp_path / "out",
    }
    words = [str(word) for option in options.items() for word in option]
    done = subprocess.run(
        ["bash", script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = [line for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert len(commands) == 17
    work = tmp_path / "out" / "work"
    for name in (
        "scan.html",
        "evaluation/report.html",
        "runs/my/model.safetensors",
        "bundle/models/model.pt",
        "bundle_evaluate/metrics.csv",
    ):
        assert (work / name).is_file(), name
    for folder in ("latents", "decoded", "bundle_encode", "bundle_decode"):
        assert list((work / folder).glob("*.nii.gz")), folder
    # MONAI warns of every bundle; everything else that is printed is of this package.
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Warning") <= done.stderr.count("UserWarning: parsing config_file")
    assert str(repository) not in done.stdout
