"""Reading of weights files that other programs wrote."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ct_vae.config.load import read_json
from ct_vae.convert_weights.unpickle import REFUSED, UNWRITTEN
from ct_vae.errors import ConfigError, OutputError, WeightsError
from ct_vae.io.temporary import ROOM_HINT, make_temporary_folder
from ct_vae.models.weights import load_metadata, load_weights, own_config

_PICKLES = (".pt", ".pth", ".ckpt", ".bin")
_SAFE = ".safetensors"
_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_READER = Path(__file__).with_name("unpickle.py")
_KINDS = f"{_SAFE}, {', '.join(_PICKLES)}, or a diffusers folder"


def read_foreign(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:
    """Read tensors by name, and the configuration of a diffusers folder.

    Pickles are read in a separate process with ``weights_only``. From a training checkpoint, the
    single entry with weights is read, such as ``state_dict``.

    Args:
        path: ``.safetensors`` file, pickle (``.pt``, ``.pth``, ``.ckpt``, ``.bin``), folder of a
            diffusers model, or folder of a pipeline with a ``vae``.

    Returns:
        Tensors on the CPU, and the configuration or ``None``.

    Raises:
        WeightsError: If there are no weights, if they are damaged or split into several files, or
            if a pickle contains more than tensors.
        ConfigError: If the configuration is not JSON.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder", "check the path")
    _refuse_shard(path)
    if path.suffix == _SAFE:
        if own_config(path) is not None:
            raise WeightsError(
                f"{path}: weights of this package", "give the folder that contains them"
            )
        return load_weights(path), None
    if path.suffix in _PICKLES:
        return _unpickled(path), None
    raise WeightsError(f"{path}: its name is not that of a weights file", f"give {_KINDS}")


def read_settings(path: Path) -> dict[str, Any]:
    """Read a configuration of another program, JSON or YAML by its suffix.

    Raises:
        ConfigError: If it cannot be read, is no mapping, or if PyYAML is not installed.
    """
    if path.suffix.lower() not in (".yaml", ".yml"):
        return read_json(path)
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError(
            f"{path}: YAML needs the package pyyaml", "install it, or write the same as JSON"
        ) from None
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not YAML that can be read: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: contains no mapping of names to values")
    return tree


def embedded_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of the file that `read_foreign` reads.

    Raises:
        WeightsError: As in `read_foreign`.
    """
    path = Path(path)
    file = _file_in(path) if path.is_dir() else path
    return load_metadata(file) if file.suffix == _SAFE else {}


def _read_folder(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any] | None]:
    file = _file_in(folder)
    state, _ = read_foreign(file)
    config = file.with_name("config.json")
    return state, read_json(config) if config.is_file() else None


def _file_in(folder: Path) -> Path:
    """Return the weights file of a diffusers model or pipeline."""
    if (folder / "vae").is_dir():
        return _file_in(folder / "vae")
    files = [folder / name for name in _NAMES if (folder / name).is_file()]
    if files:
        return files[0]
    present = sorted(p.name for p in folder.iterdir() if p.suffix in (_SAFE, *_PICKLES))
    for name in present:
        _refuse_shard(folder / name)
    others = f"; it holds {', '.join(present[:3])}: give the file itself" if present else ""
    raise WeightsError(f"{folder}: contains none of {', '.join(_NAMES)}{others}")


def _refuse_shard(file: Path) -> None:
    if _SHARD.search(file.stem):
        raise WeightsError(
            f"{file}: one of several files that the weights are split into",
            "load them with the original program and save them in one file, in diffusers with "
            "save_pretrained(FOLDER, max_shard_size='100GB')",
        )


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    with make_temporary_folder() as scratch:
        target = Path(scratch) / "weights.safetensors"
        # -P keeps the script's folder out of the module search path.
        command = [sys.executable, "-P", str(_READER), str(path.absolute()), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if done.returncode == REFUSED:
            raise WeightsError(
                f"{path}: {last}",
                "copy it again, or save its state_dict with safetensors.torch.save_file in the "
                "original program",
            )
        if done.returncode == UNWRITTEN:
            raise OutputError(
                f"the temporary folder cannot hold the weights of {path}: {last[:200]}", ROOM_HINT
            )
        if done.returncode:
            raise WeightsError(f"{path}: could not be read: {last[:200]}")
        return load_weights(target)
