"""Writes datalists in the shape of the Medical Segmentation Decathlon, as MONAI reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any

from ct_vae.datasets.sources.patient_split import LIST_NAMES, ListName, Shares
from ct_vae.errors import ConfigError
from ct_vae.io.atomic.file import write_json
from ct_vae.io.read_options import ReadOptions


@dataclass(frozen=True)
class Entry:
    """A line of a datalist.

    Attributes:
        path: What `read_volume` takes, from the folder in which the command runs.
        list_name: The list that it goes into.
        patient: Number of the patient within the datalist.
    """

    path: str
    list_name: ListName
    patient: int


def check_target(path: Path, overwrite: bool) -> None:
    """Refuse what is no name for a new datalist, before any work.

    Raises:
        ConfigError: If it does not end with ``.json``, is a folder, or exists.
    """
    if path.suffix.lower() != ".json" or path.is_dir():
        raise ConfigError(f"-o {path} is no name for a datalist", "-o takes a .json file")
    if os.path.lexists(path) and not overwrite:
        raise ConfigError(f"{path}: exists already", "--overwrite replaces it")


def write_datalist(
    path: Path, entries: Sequence[Entry], shares: Shares, options: ReadOptions
) -> None:
    """Write a datalist; a list without entries is left out, but for ``training``.

    Paths are relative to the folder of the datalist, with ``/``, or absolute where a link among
    the folders would lead a relative one elsewhere. Options under which the cases were read are
    noted under ``read_options``.

    Raises:
        OutputError: If it cannot be written.
    """
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in LIST_NAMES}
    for entry in entries:
        image = path_from(path.parent, entry.path)
        # A number, since MONAI takes text that happens to name a file for a path.
        lists[entry.list_name].append({"image": image, "patient": entry.patient})
    patients = len({entry.patient for entry in entries})
    tree = {
        "name": path.stem,
        "description": f"CT volumes of {patients} patients, split by patient: "
        f"{shares.val:g} for validation, {shares.test:g} for test, seed {shares.seed}",
        "modality": {"0": "CT"},
        "tensorImageSize": "3D",
        **_consents(options),
        "numTraining": len(lists["training"]),
        "numValidation": len(lists["validation"]),
        "numTest": len(lists["test"]),
        # MONAI looks into the first entry of a test list without asking whether there is one.
        **{name: each for name, each in lists.items() if each or name == "training"},
    }
    write_json(path, tree)


def path_from(folder: Path, path: str) -> str:
    """A path as it stands in a datalist that lies in a folder."""
    name = os.path.relpath(path, folder)
    # MONAI takes .. out of the text; the system follows it from where a link has led.
    same = os.path.realpath(folder / name) == os.path.realpath(path)
    return PurePath(name if same else os.path.abspath(path)).as_posix()  # noqa: PTH100 - lexical


def _consents(options: ReadOptions) -> dict[str, Any]:
    default = asdict(ReadOptions())
    given = {name: value for name, value in asdict(options).items() if value != default[name]}
    return {"read_options": given} if given else {}
