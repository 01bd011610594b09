"""Datalists in the JSON form of MONAI and the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from ct_vae.config.load import read_json
from ct_vae.datasets.sources.entry import Listed, Problem, Side
from ct_vae.errors import ConfigError
from ct_vae.io import ReadOptions

_LISTS: dict[str, Side] = {"training": "train", "validation": "val", "test": "test"}
_PATIENT_KEYS = ("patient", "subject")
_SHAPE = (
    "entries are paths, or objects with one path under 'image' and perhaps a 'patient' and a "
    "'weight'"
)


def read_datalist(path: Path, problem: Problem) -> list[Listed]:
    """Entries of the lists ``training``, ``validation`` and ``test``.

    ``read_options``, which ``ct-vae scan`` notes, tells how all are read; other keys are ignored.

    Args:
        path: The JSON file; relative paths in it start at its folder.
        problem: Takes whatever is wrong with an entry or a list.

    Raises:
        ConfigError: If the file cannot be read or is no JSON object.
    """
    tree = read_json(path)
    options = ReadOptions()
    try:
        options = _read_options(tree.get("read_options", {}))
    except ConfigError as error:
        problem(error)
    found: list[Listed] = []
    for name, side in _LISTS.items():
        entries = tree.get(name)
        if name not in tree and side != "train":
            continue
        if not isinstance(entries, list) or (not entries and side != "test"):
            problem(ConfigError(f"list {name!r} is missing or empty"))
            continue
        for i, item in enumerate(entries):
            where = f"{name}[{i}]"
            try:
                found.append(_entry(item, where, side, path.parent, options))
            except ConfigError as error:
                problem(error)
    return found


def _entry(item: Any, where: str, side: Side, folder: Path, options: ReadOptions) -> Listed:
    image = item.get("image") if isinstance(item, dict) else item
    if not isinstance(image, str) or not image.strip():
        shown = json.dumps(item)[:80]
        raise ConfigError(f"{where} needs a path under 'image', got {shown}", _SHAPE)
    named = {}
    if isinstance(item, dict):
        named = {key: item[key] for key in _PATIENT_KEYS if key in item}
    for key, value in named.items():
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise ConfigError(f"{where} {key!r} is a name or a number, got {json.dumps(value)}")
    patients = {str(value).strip() for value in named.values()}
    if len(patients) > 1:
        raise ConfigError(f"{where} names two patients, {' and '.join(sorted(patients))}")
    weight = item.get("weight", 1) if isinstance(item, dict) else 1
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < inf:
        raise ConfigError(f"{where} 'weight' is a positive number, got {json.dumps(weight)}")
    patient = patients.pop() if patients else None
    return Listed(where, side, image, folder, patient, options, float(weight))


def _read_options(given: Any) -> ReadOptions:
    """Consents and corrections, each of the type that it has in `ReadOptions`."""
    if not isinstance(given, dict):
        raise ConfigError(f"'read_options' is an object, got {json.dumps(given)[:80]}")
    defaults = asdict(ReadOptions())
    for name, value in given.items():
        if name not in defaults:
            raise ConfigError(f"'read_options' has no {name!r}; there are {', '.join(defaults)}")
        kinds = {"frame": (int,), "hu_offset": (int, float)}.get(name, (type(defaults[name]),))
        if type(value) not in kinds:
            raise ConfigError(f"'read_options' {name!r} cannot be {json.dumps(value)[:80]}")
    return ReadOptions(**given)
