import subprocess
import sys

import pytest

from ct_vae import __version__
from ct_vae.io import write_volume
from ct_vae.phantoms.make_phantom import make_phantom
from tests.cli._run import call, process

HEAVY = ("torch", "monai", "SimpleITK", "nibabel", "scipy", "matplotlib")


def test_help_names_every_command():
    code, text = call("--help")
    assert code == 0
    for name in (
        "train",
        "encode",
        "decode",
        "reconstruct",
        "evaluate",
        "phantom",
        "info",
        "config",
        "convert",
        "sample",
        "scan",
        "verify",
    ):
        assert name in text


def loaded(packages, args, folder):
    """Which of these packages a command imports."""
    script = (
        "import sys\nfrom ct_vae.cli.main import run\n"
        f"sys.argv = ['ct-vae', *{args!r}]\n"
        "try:\n    run()\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        f"print('loaded', *(n for n in {packages!r} if n in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=folder, check=True
    )
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["config", "check", "quickstart"], ["config", "list"]]
)
def test_light_commands_import_no_heavy_package(args, tmp_path):
    assert loaded(HEAVY, args, tmp_path) == []


def test_the_version_needs_neither_help_nor_numbers(tmp_path):
    assert loaded(("rich", "numpy", "ct_vae.config.run"), ["--version"], tmp_path) == []


def test_a_volume_is_described_without_the_packages_of_models(tmp_path):
    write_volume(make_phantom("head", 1, 16.0), tmp_path / "scan.nii.gz")
    packages = ("torch", "monai", "SimpleITK", "matplotlib", "rich", "ct_vae.config.run")
    assert loaded(packages, ["info", "scan.nii.gz"], tmp_path) == []


def test_the_version_is_printed():
    assert call("--version") == (0, f"{__version__}\n")


def test_an_error_is_one_line_on_stderr_with_its_exit_code(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"training": {"patchsize": [8, 8, 8]}}')
    done = process("config", "check", path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "training.patchsize" in done.stderr
    assert "did you mean training.patch_size?" in done.stderr


def test_usage_errors_exit_with_2():
    assert call("encode")[0] == 2
    assert call("nonsense")[0] == 2
