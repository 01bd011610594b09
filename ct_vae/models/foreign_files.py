"""Reading weights files that other programs wrote."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from ct_vae.config.load import read_json
from ct_vae.errors import WeightsError
from ct_vae.models.unpickle import REFUSED
from ct_vae.models.weights import load_weights, own_config

_PICKLES = (".pt", ".pth", ".ckpt", ".bin")
_SAFE = ".safetensors"
_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
)
_READER = Path(__file__).with_name("unpickle.py")
_KINDS = f"{_SAFE}, {', '.join(_PICKLES)}, or a diffusers folder"


def read_foreign(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:
    """Tensors by name, and the configuration that lies beside them in a diffusers folder.

    Pickles are read in a process of their own and with ``weights_only``, never otherwise. Of a
    training checkpoint the one entry that holds the weights is taken, such as ``state_dict``.

    Args:
        path: A ``.safetensors`` file, a pickle (``.pt``, ``.pth``, ``.ckpt``, ``.bin``), a folder
            of a diffusers model, or one of a pipeline, whose ``vae`` is taken.

    Returns:
        Tensors on the CPU; the configuration is ``None`` where there is none.

    Raises:
        WeightsError: If there is nothing, if it is damaged, or if a pickle wants more than tensors.
        ConfigError: If the configuration is not JSON.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder", "check the path")
    if path.suffix == _SAFE:
        if own_config(path) is not None:
            raise WeightsError(f"{path}: weights of this package", "give the folder they lie in")
        return load_weights(path), None
    if path.suffix in _PICKLES:
        return _unpickled(path), None
    raise WeightsError(f"{path}: not a weights file by its name", f"give {_KINDS}")


def _read_folder(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:
    if (folder / "vae").is_dir():
        return _read_folder(folder / "vae")
    files = [folder / name for name in _NAMES if (folder / name).is_file()]
    if not files:
        present = sorted(p.name for p in folder.iterdir() if p.suffix in (_SAFE, *_PICKLES))
        others = f"; it holds {', '.join(present[:3])}: give the file itself" if present else ""
        raise WeightsError(f"{folder}: none of {', '.join(_NAMES)} lies there{others}")
    state, _ = read_foreign(files[0])
    config = folder / "config.json"
    return state, read_json(config) if config.is_file() else None


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    with tempfile.TemporaryDirectory(prefix="ct-vae-") as scratch:
        target = Path(scratch) / "weights.safetensors"
        # -P: the folder of the reader is not searched for modules.
        command = [sys.executable, "-P", str(_READER), str(path.absolute()), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if done.returncode == REFUSED:
            raise WeightsError(
                f"{path}: {last}",
                "copy it again, or write its state_dict with safetensors.torch.save_file where it "
                "comes from",
            )
        if done.returncode:
            raise WeightsError(f"{path}: could not be read: {last[:200]}")
        return load_weights(target)
