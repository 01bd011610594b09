import subprocess
import sys

import pytest

from ct_vae import __version__
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


@pytest.mark.parametrize("args", [["--help"], ["config", "check", "configs/quickstart.json"]])
def test_light_commands_import_no_heavy_package(repository, args):
    script = (
        "import sys\nfrom ct_vae.cli.main import run\n"
        f"sys.argv = ['ct-vae', *{args!r}]\n"
        "try:\n    run()\nexcept SystemExit as done:\n    assert not done.code, done.code\n"
        f"print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=repository, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


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
