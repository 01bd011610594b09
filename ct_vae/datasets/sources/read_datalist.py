"""Reading of datalists in the JSON format of MONAI and the Medical Segmentation Decathlon."""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from ct_vae.config.load import read_json
from ct_vae.datasets.sources.entry import Listed, Note, Problem, Side
from ct_vae.errors import ConfigError
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES
from ct_vae.io import ReadOptions
from ct_vae.io.archive import ARCHIVE_SUFFIXES

_LISTS: dict[str, Side] = {
    "training": "train",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# Names of lists in other programs, and typing errors.
_ALIASES = {"train": "training", "val": "validation", "valid": "validation", "tests": "test"}
_VOLUMES = (*VOLUME_SUFFIXES, *ARCHIVE_SUFFIXES, ".dcm")
_PATIENT_KEYS = ("patient", "subject")
_SHAPE = (
    "entries are paths, or objects with one path under 'image' and perhaps a 'patient', a 'weight' "
    "and a 'fold'"
)


def read_datalist(path: Path, problem: Problem, note: Note = lambda _: None) -> list[Listed]:
    """Read the entries of the lists ``training``, ``validation`` and ``test`` (or ``testing``).

    ``read_options``, which ``ct-vae scan`` writes, apply to all entries; other keys are ignored.

    Args:
        path: The JSON file; paths in it are relative to its folder.
        problem: Called with an error for each invalid entry or list.
        note: Called with a line for each list of volumes that is not read.

    Raises:
        ConfigError: If the file cannot be read or is not a JSON object.
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
        if not isinstance(entries, list) or (not entries and side == "train"):
            problem(_no_list(name, tree))
            continue
        for i, item in enumerate(entries):
            where = f"{name}[{i}]"
            try:
                found.append(_entry(item, where, side, path.parent, options))
            except ConfigError as error:
                problem(error)
    for name, entries in tree.items():
        if name not in _LISTS and _lists_volumes(entries):
            note(f"list {name!r} of {len(entries)} entries is not read")
    return found


def _no_list(name: str, tree: dict[str, Any]) -> ConfigError:
    near = [key for key in tree if _ALIASES.get(key) == name]
    near += difflib.get_close_matches(name, [key for key in tree if key not in _LISTS], cutoff=0.8)
    hint = f"did you mean {name!r} by {near[0]!r}?" if near else ""
    return ConfigError(f"list {name!r} is missing or empty", hint)


def _lists_volumes(entries: Any) -> bool:
    """Return True if a value looks like a list of entries, not of labels or channels."""
    if not isinstance(entries, list) or not entries:
        return False
    first = entries[0]
    if isinstance(first, dict):
        return "image" in first
    return isinstance(first, str) and first.lower().endswith(_VOLUMES)


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
    fold = item.get("fold") if isinstance(item, dict) else None
    if isinstance(fold, bool) or not isinstance(fold, int | None):
        raise ConfigError(f"{where} 'fold' is a whole number, got {json.dumps(fold)}")
    patient = patients.pop() if patients else None
    return Listed(where, side, image, folder, patient, options, float(weight), fold)


def _read_options(given: Any) -> ReadOptions:
    """Parse options of reading, with checks of their types."""
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
