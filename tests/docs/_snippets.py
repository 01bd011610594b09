"""Code blocks of the documents, and a folder in which their commands work."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import ct_vae
from ct_vae.io import write_latent, write_volume
from tests._small import ct_volume
from tests.cli._run import call
from tests.io._series import make_series, write_series

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"\d+(\.\d+)?")
# Training of the documents is real but takes minutes; tests make a few small steps.
_SHORT = {
    "training.samples": 4,
    "training.batch_size": 2,
    "training.patch_size": "[16,16,16]",
    "training.warmup_samples": 0,
    "training.lr_decay_samples": 2,
    "training.ema_samples": 2,
    "training.log_every": 2,
    "training.save_every": 4,
    "training.checkpoint_every": 4,
    "training.workers": 0,
}


@dataclass(frozen=True)
class Block:
    """A fenced block: bash and python run, blocks with a title are files, others do nothing."""

    kind: str
    title: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(page.read_text("utf-8"))]


def make_folder(folder: Path) -> None:
    """Make the inputs that the documents name."""
    volume = ct_volume((32, 32, 32))
    write_volume(volume, folder / "scan.nii.gz")
    for name in "abcd":
        other = ct_volume((32, 32, 32), seed=ord(name))
        write_volume(other, folder / "ct" / f"patient_{name}" / "ct.nii.gz")
    write_series(folder / "export" / "series", make_series(n=8, sides=(24, 20)))


def make_results(folder: Path) -> None:
    """Make the latent and the decoded volume that pages about results begin with."""
    codec = ct_vae.load_codec("ct-f4", device="cpu")
    latent = codec.encode(ct_volume((32, 32, 32)))
    write_latent(latent, folder / "latents" / "scan_latent.nii.gz")
    write_volume(codec.decode(latent), folder / "decoded" / "scan_decoded.nii.gz")


def lines_of(code: str) -> list[str]:
    """Commands of a block, each on one line."""
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip()]


def run(line: str) -> str:
    """Run a command in the working directory and return what it prints."""
    words = shlex.split(line, comments=True)
    if words[0] != "ct-vae":
        return _run_in_shell(line)
    if words[1] == "train":
        coarse = {"data.phantoms.spacing_mm": "[12,12,12]"} if words[2] == "quickstart" else {}
        changes = (_SHORT | coarse).items()
        words += [word for key, value in changes for word in ("--set", f"{key}={value}")]
    code, text = call(*words[1:])
    assert code == 0, f"{line}\n{text}"
    return text


def run_console(code: str) -> None:
    """Run the commands after ``$`` and compare what they print, except for its numbers."""
    printed, shown = "", ""
    for line in code.splitlines():
        if line.startswith("$ "):
            assert _masked(printed) == _masked(shown), f"{printed}\n{shown}"
            printed, shown = run(line[2:]), ""
        else:
            shown += f"{line}\n"
    assert _masked(printed) == _masked(shown), f"{printed}\n{shown}"


def _masked(text: str) -> list[str]:
    return [_NUMBER.sub("0", line.rstrip()) for line in text.splitlines() if line.strip()]


def _run_in_shell(line: str) -> str:
    programs = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-ec", line],
        env=os.environ
        | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def copy_of(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
