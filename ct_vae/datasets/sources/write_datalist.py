"""Writing of datalists in the format of MONAI and the Medical Segmentation Decathlon."""

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
    """An entry of a datalist.

    Attributes:
        path: Path for `read_volume`, relative to the working directory.
        list_name: Name of its list.
        patient: Number of the patient within the datalist.
    """

    path: str
    list_name: ListName
    patient: int


def check_target(path: Path, overwrite: bool) -> None:
    """Check that a path is valid for a new datalist.

    Raises:
        ConfigError: If the path does not end with ``.json``, is a folder, or exists and
            ``overwrite`` is False.
    """
    if path.suffix.lower() != ".json" or path.is_dir():
        raise ConfigError(f"-o {path} is not the name of a datalist", "give a .json file to -o")
    if os.path.lexists(path) and not overwrite:
        raise ConfigError(f"{path}: exists already", "--overwrite replaces it")


def write_datalist(
    path: Path, entries: Sequence[Entry], shares: Shares, options: ReadOptions
) -> None:
    """Write a datalist; empty lists other than ``training`` are omitted.

    Paths are relative to the folder of the datalist, with ``/``, or absolute if links among the
    folders change the meaning of relative paths. Options of reading other than the defaults are
    stored under ``read_options``.

    Raises:
        OutputError: If the datalist cannot be written.
    """
    lists: dict[str, list[dict[str, Any]]] = {name: [] for name in LIST_NAMES}
    for entry in entries:
        image = path_from(path.parent, entry.path)
        # A number, since MONAI converts text to a path if a file has that name.
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
        # MONAI reads the first entry of a test list even if the list is empty.
        **{name: each for name, each in lists.items() if each or name == "training"},
    }
    write_json(path, tree)


def path_from(folder: Path, path: str) -> str:
    """Return a path as written in a datalist in a folder."""
    name = os.path.relpath(path, folder)
    # MONAI removes .. from the text, whereas the system follows links first.
    same = os.path.realpath(folder / name) == os.path.realpath(path)
    return PurePath(name if same else os.path.abspath(path)).as_posix()  # noqa: PTH100 - lexical


def _consents(options: ReadOptions) -> dict[str, Any]:
    default = asdict(ReadOptions())
    given = {name: value for name, value in asdict(options).items() if value != default[name]}
    return {"read_options": given} if given else {}
