"""Every snippet of the README's section on MONAI runs as it stands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ct_vae.io import write_volume
from tests._forked import process
from tests._small import ct_volume

SNIPPET = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def bash(code, path, repository):
    return subprocess.run(
        ["bash", "-ec", code],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def python(code, folder):
    (folder / "snippet.py").write_text(code)
    return process(script="snippet.py")


@pytest.mark.slow
def test_the_snippets_of_use_in_monai_run(repository, model_folder, tmp_path, monkeypatch):
    text = (repository / "README.md").read_text()
    section = re.search(r"^## Use in MONAI\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    snippets = SNIPPET.findall(section[1])
    assert {kind for kind, _ in snippets} == {"bash", "python"}
    shutil.copytree(model_folder, tmp_path / "runs" / "kl_f4")
    write_volume(ct_volume(), tmp_path / "ct" / "case.nii.gz")
    shutil.copy(tmp_path / "ct" / "case.nii.gz", tmp_path)
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.chdir(tmp_path)
    for kind, code in snippets:
        done = bash(code, path, repository) if kind == "bash" else python(code, tmp_path)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
    assert (tmp_path / "decoded" / "case_decoded.nii.gz").is_file()
    assert (tmp_path / "network.ts").is_file()
    assert (tmp_path / "latents" / "case_latent.json").is_file()
