"""Wheel, sdist, citation file and Dockerfile."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from ct_vae import __version__
from ct_vae.config.shipped_configs import shipped_configs
from tests.e2e.conftest import SOURCES

_DATA = (
    "ct_vae/py.typed",
    "ct_vae/config/shipped/schema.json",
    *(f"ct_vae/config/shipped/{name}.json" for name in shipped_configs()),
    "ct_vae/weights/ct-f4/model.safetensors",
    "ct_vae/evaluation/report/assets/viewer.js",
)


def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.mark.slow
def test_wheel_and_sdist_are_complete_and_accepted_by_package_indexes(distributions):
    files = sorted(distributions.iterdir())
    check = [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sdist, wheel = (next(f for f in files if f.name.endswith(e)) for e in (".tar.gz", ".whl"))
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names.issuperset(_DATA)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        description = archive.read(metadata).decode()
    assert names.issuperset(_DATA)
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "configs"))]
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", description)
    relative = [a or b for a, b in targets if not re.match(r"https?:|mailto:|#", a or b)]
    assert targets
    assert not relative


@pytest.mark.slow
def test_configurations_are_found_by_name_after_an_install(installed, tmp_path):
    program = installed / "bin" / "ct-vae"

    def run(*words):
        return subprocess.run(
            [program, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert {row["name"] for row in json.loads(run("config", "list", "--json"))} == {
        *shipped_configs()
    }
    assert run("config", "new", "quickstart", "-o", "my.json") == "my.json\n"
    small = ["--set", "data.phantoms.train=1", "--set", "data.phantoms.val=1"]
    assert "0.413 million parameters" in run("train", "my.json", "--dry-run", *small)


def test_the_version_is_the_same_everywhere(repository):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert project(repository)["version"] == citation["version"] == __version__


def test_the_citation_file_has_what_the_format_requires(repository):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= citation.keys()
    assert citation["license"] == project(repository)["license"]
    names = [author["name"] for author in citation["authors"]]
    assert names == [author["name"] for author in project(repository)["authors"]]


def test_only_python_versions_that_the_check_runs_on_are_classified(repository):
    config = project(repository)
    prefix = "Programming Language :: Python :: 3."
    versions = [c for c in config["classifiers"] if c.startswith(prefix)]
    assert versions == [f"{prefix}11"]
    assert config["requires-python"] == ">=3.11"


def docker_is_running():
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    )


def dockerfile(repository):
    return DockerfileParser(path=str(repository / "Dockerfile"), cache_content=True)


def test_the_dockerfile_follows_good_practice(repository):
    """Known instructions, existing sources, a small image, no root, exec form of the command."""
    steps = [(s["instruction"], s["value"]) for s in dockerfile(repository).structure]
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in steps} <= {*known, "COMMENT"}
    ignored = (repository / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for name, value in steps:
        if name == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (repository / source).exists(), source
                assert f"!{source}" in ignored, source
        if name == "RUN" and "pip" in value:
            assert value.count("--no-cache-dir") == value.count("-m pip "), value
    # The wheel of the image is built from the same files as the tested one.
    copied = next(value for name, value in steps if name == "COPY").split()[:-1]
    assert {*copied, "ct_vae"} == set(SOURCES)
    last = dict(steps)
    assert last["USER"] != "root"
    assert json.loads(last["ENTRYPOINT"]) == ["ct-vae"]
    assert json.loads(last["CMD"]) == ["--help"]
    python = dict(v.split("=") for n, v in steps if n == "ARG")["PYTHON"]
    assert f"Programming Language :: Python :: {python}" in project(repository)["classifiers"]
    assert [v for n, v in steps if n == "FROM"][-1].startswith("python:")


def test_torch_is_for_the_cpu_unless_an_argument_says_otherwise(repository):
    steps = [(s["instruction"], s["value"]) for s in dockerfile(repository).structure]
    assert ("ARG", "TORCH=cpu") in steps
    assert any(name == "RUN" and "/${TORCH}" in value for name, value in steps)


@pytest.mark.slow
@pytest.mark.skipif(not docker_is_running(), reason="docker is not running")
def test_the_image_builds_and_encodes(repository, tmp_path):
    build = ["docker", "build", "-q", "-t", "ct-vae-test", str(repository)]
    subprocess.run(build, check=True, capture_output=True)
    user = f"{os.getuid()}:{os.getgid()}"
    run = ["docker", "run", "--rm", "-v", f"{tmp_path}:/data", "--user", user, "ct-vae-test"]
    subprocess.run([*run, "phantom", "-o", "scans"], check=True)
    subprocess.run([*run, "encode", "ct-f4", "scans", "-o", "latents"], check=True)
    assert list((tmp_path / "latents").glob("*_latent.nii.gz"))
