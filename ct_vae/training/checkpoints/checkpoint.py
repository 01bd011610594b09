"""Checkpoints: states on disk from which a run resumes as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from ct_vae.errors import InputError, OutputError
from ct_vae.io.atomic.folder import atomic_folder

CHECKPOINTS = "checkpoints"
_STATE = "state.safetensors"
_SETTINGS = "state.json"
_MANIFEST = "manifest.json"
_FORMAT = 1
_KEPT = 2
_NAME = re.compile(r"samples-(\d{12})")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a run after ``samples_seen`` samples.

    Attributes:
        samples_seen: Samples seen by the run.
        tensors: Parameters, averages, moments and buffers by name.
        settings: Counters and the configuration, as JSON.
    """

    samples_seen: int
    tensors: Mapping[str, torch.Tensor]
    settings: Mapping[str, Any]


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint atomically, verify it, and then remove older ones except the latest.

    Raises:
        OutputError: If the checkpoint cannot be written, or differs when it is read back.
    """
    folder = run / CHECKPOINTS / f"samples-{checkpoint.samples_seen:012d}"
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()
    }
    settings = {
        "format_version": _FORMAT,
        "samples_seen": checkpoint.samples_seen,
        **checkpoint.settings,
    }
    contents = {
        _STATE: save(tensors),
        _SETTINGS: (json.dumps(settings, indent=2, allow_nan=False) + "\n").encode(),
    }
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    with atomic_folder(folder, overwrite=True) as stage:
        for name, data in contents.items():
            stage.write(name, data)
        stage.write(_MANIFEST, (json.dumps(sums, indent=2) + "\n").encode())
    try:
        _verified(folder)
    except InputError as error:
        raise OutputError(
            f"the checkpoint differs from the data that was written: {error}", "check the disk"
        ) from error
    for old in _folders(run)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def newest_checkpoint(run: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest valid checkpoint; ``report`` is called with a line for each damaged one.

    Returns:
        The checkpoint, or ``None`` if there are no checkpoints.

    Raises:
        InputError: If all checkpoints are damaged.
    """
    folders = _folders(run)
    for folder in folders:
        try:
            return _read(folder)
        except InputError as error:
            report(f"{error}; the previous checkpoint is used")
    if folders:
        raise InputError(
            f"{run}: none of its {len(folders)} state(s) is whole",
            "--overwrite begins anew",
        )
    return None


def clear_checkpoints(run: Path) -> None:
    """Remove the states of an earlier run.

    Raises:
        OutputError: If a checkpoint cannot be removed.
    """
    for folder in _folders(run):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise OutputError(
                f"cannot remove the earlier {folder}: {error.strerror}",
                "choose another training.output_dir",
            ) from error


def has_checkpoint(run: Path) -> bool:
    """Return True if there is a checkpoint, valid or not."""
    return bool(_folders(run))


def _folders(run: Path) -> list[Path]:
    """Return the folders of checkpoints, newest first; leftovers of killed writers are excluded."""
    place = run / CHECKPOINTS
    if not place.is_dir():
        return []
    return sorted((p for p in place.iterdir() if _NAME.fullmatch(p.name)), reverse=True)


def _read(folder: Path) -> Checkpoint:
    contents = _verified(folder)
    try:
        settings = json.loads(contents[_SETTINGS])
        version, seen = settings.pop("format_version"), settings.pop("samples_seen")
        tensors = load(contents[_STATE])
    except (ValueError, KeyError, AttributeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a checkpoint: {error}") from None
    if version != _FORMAT:
        raise InputError(
            f"{folder}: format version {version}, this version of ct_vae reads {_FORMAT}"
        )
    return Checkpoint(seen, tensors, settings)


def _verified(folder: Path) -> dict[str, bytes]:
    """Read the files of a checkpoint by name and verify their checksums."""
    try:
        sums = json.loads((folder / _MANIFEST).read_bytes())
        contents = {name: (folder / name).read_bytes() for name in (_STATE, _SETTINGS)}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != sums[name]:
                raise InputError(f"{folder / name}: is not what {_MANIFEST} says")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: an incomplete checkpoint ({error})") from None
    return contents
