"""The volumes of a run: where each comes from, and the split that the configuration names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ct_vae.config.data import DataConfig, PhantomConfig
from ct_vae.config.load import read_json
from ct_vae.datasets.phantom import make_phantom
from ct_vae.errors import ConfigError
from ct_vae.io import read_volume
from ct_vae.io.discover import discover
from ct_vae.volume import Volume


class TrainingCase(Protocol):
    """One volume that can be loaded."""

    @property
    def key(self) -> str:
        """Name of the case, unique in its split."""
        ...

    def load(self) -> Volume:
        """Read or make the volume."""
        ...


@dataclass(frozen=True)
class FileCase:
    """A volume in a file."""

    key: str
    path: Path

    def load(self) -> Volume:
        """Read the file with every check."""
        return read_volume(self.path)


@dataclass(frozen=True)
class PhantomCase:
    """A generated volume."""

    anatomy: str
    seed: int
    spacing_mm: tuple[float, float, float]

    @property
    def key(self) -> str:
        """Anatomy and seed."""
        return f"{self.anatomy}_{self.seed:04d}"

    def load(self) -> Volume:
        """Generate the volume."""
        return make_phantom(self.anatomy, self.seed, self.spacing_mm)


@dataclass(frozen=True)
class Split:
    """Cases to train on and cases to validate on."""

    train: Sequence[TrainingCase]
    val: Sequence[TrainingCase]


def build_split(config: DataConfig) -> Split:
    """List the cases that a configuration names; nothing is read yet.

    Raises:
        ConfigError: With every file that is missing or stands in both lists.
        NoInputError: If no volume is found.
    """
    if config.datalist is not None:
        train, val = _from_datalist(Path(config.datalist))
    elif config.train:
        train, val = _discovered(config.train), _discovered(config.val)
    else:
        return _phantoms(config.phantoms or PhantomConfig())
    _check_disjoint(train, val)
    return Split(train, val)


def phantom_cases(config: PhantomConfig, count: int, first_seed: int) -> list[PhantomCase]:
    """Generated cases with consecutive seeds, cycling through the anatomies."""
    names = config.anatomies
    return [
        PhantomCase(names[i % len(names)], first_seed + i, config.spacing_mm) for i in range(count)
    ]


def _phantoms(config: PhantomConfig) -> Split:
    train = phantom_cases(config, config.train, config.seed)
    return Split(train, phantom_cases(config, config.val, config.seed + config.train))


def _discovered(patterns: Sequence[str]) -> list[FileCase]:
    return [FileCase(c.key, c.path) for c in discover(patterns)] if patterns else []


def _from_datalist(path: Path) -> tuple[list[FileCase], list[FileCase]]:
    tree = read_json(path)
    train = _entries(tree, "training", path)
    val = _entries(tree, "validation", path) if "validation" in tree else []
    missing = [str(case.path) for case in train + val if not case.path.is_file()]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ConfigError(
            f"{path}: {len(missing)} of {len(train + val)} files are missing: {shown}",
            "paths in a datalist are relative to its own folder",
        )
    return train, val


def _entries(tree: dict[str, Any], name: str, path: Path) -> list[FileCase]:
    entries = tree.get(name)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: list {name!r} is missing or empty")
    return [_entry(item, f"{name}[{i}]", path) for i, item in enumerate(entries)]


def _entry(item: Any, where: str, path: Path) -> FileCase:
    image = item.get("image") if isinstance(item, dict) else item
    if not isinstance(image, str) or not image:
        raise ConfigError(f"{path}: {where} needs a path under 'image', got {json.dumps(item)}")
    return FileCase(Path(image).as_posix(), path.parent / image)


def _check_disjoint(train: Sequence[FileCase], val: Sequence[FileCase]) -> None:
    shared = {case.path.resolve() for case in train} & {case.path.resolve() for case in val}
    if shared:
        names = ", ".join(sorted(str(p) for p in shared)[:5])
        raise ConfigError(f"{len(shared)} volumes stand in training and validation: {names}")
