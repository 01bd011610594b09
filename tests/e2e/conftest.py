"""The package as its users get it: built, checked, and installed away from the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What an sdist is made of; the other files of the checkout must not be needed.
SOURCES = ("ct_vae", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def distributions(repository, tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        path = repository / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, source / name, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    folder = tmp_path_factory.mktemp("dist")
    # The build tools are those of this environment, so that no network is needed.
    build = [sys.executable, "-m", "build", "--no-isolation", "-o", str(folder)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def installed(distributions, tmp_path_factory) -> Path:
    """A fresh virtual environment with the wheel; dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(others))
    (wheel,) = distributions.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    install = ["--python", str(python), "install", "--no-deps", "--force-reinstall", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    return folder
