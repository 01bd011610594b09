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
    return [FileCase(c.key, c.path) for c in discover(patterns, unique=False)] if patterns else []


def _from_datalist(path: Path) -> tuple[list[FileCase], list[FileCase]]:
    tree = read_json(path)
    problems: list[str] = []
    train = _entries(tree.get("training"), "training", path.parent, problems)
    val: list[FileCase] = []
    if "validation" in tree:
        val = _entries(tree["validation"], "validation", path.parent, problems)
    if problems:
        shown = "; ".join(problems[:10]) + ("; ..." if len(problems) > 10 else "")
        raise ConfigError(
            f"{path}: {len(problems)} problem(s): {shown}",
            "paths in a datalist are relative to its own folder",
        )
    return train, val


def _entries(entries: Any, name: str, folder: Path, problems: list[str]) -> list[FileCase]:
    """Cases of one list; what is wrong with it is added to ``problems``."""
    if not isinstance(entries, list) or not entries:
        problems.append(f"list {name!r} is missing or empty")
        return []
    cases: list[FileCase] = []
    for i, item in enumerate(entries):
        image = item.get("image") if isinstance(item, dict) else item
        if not isinstance(image, str) or not image:
            problems.append(f"{name}[{i}] needs a path under 'image', got {json.dumps(item)}")
        elif not (folder / image).is_file():
            problems.append(f"{name}[{i}] {image} is missing")
        elif any(case.key == Path(image).as_posix() for case in cases):
            problems.append(f"{name}[{i}] {image} stands twice")
        else:
            cases.append(FileCase(Path(image).as_posix(), folder / image))
    return cases


def _check_disjoint(train: Sequence[FileCase], val: Sequence[FileCase]) -> None:
    shared = {case.path.resolve() for case in train} & {case.path.resolve() for case in val}
    if shared:
        names = ", ".join(sorted(str(p) for p in shared)[:5])
        raise ConfigError(f"{len(shared)} volumes stand in training and validation: {names}")
