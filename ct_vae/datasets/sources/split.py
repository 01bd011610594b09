"""The split of a run into training and validation cases, checked before volumes are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ct_vae.config.data import DataConfig, PhantomConfig
from ct_vae.datasets.sources.case import FileCase, PhantomCase, TrainingCase
from ct_vae.datasets.sources.entry import Listed, Note, Problem
from ct_vae.datasets.sources.file_cases import (
    listed_cases,
    searched_cases,
    side_by_side,
    unread_case,
)
from ct_vae.datasets.sources.patient_split import Shares
from ct_vae.datasets.sources.problems import refuse
from ct_vae.datasets.sources.read_datalist import read_datalist
from ct_vae.datasets.sources.read_table import read_table
from ct_vae.errors import ConfigError, CtVaeError

__all__ = ["FileCase", "PhantomCase", "Split", "TrainingCase", "build_split", "list_split"]


@dataclass(frozen=True)
class Split:
    """Training and validation cases.

    Attributes:
        train: Training cases.
        val: Validation cases.
        notes: Lines about unused entries and settings.
    """

    train: Sequence[TrainingCase]
    val: Sequence[TrainingCase]
    notes: Sequence[str] = ()


@dataclass
class _Sides:
    """Cases in files by part of the split."""

    train: list[FileCase] = field(default_factory=list)
    val: list[FileCase] = field(default_factory=list)
    test: list[FileCase] = field(default_factory=list)


def build_split(config: DataConfig) -> Split:
    """Return the cases of a configuration without reading volumes.

    Raises:
        ConfigError: If there are problems, such as missing or repeated files, empty lists, or
            patients on two sides; lists all of them.
        InputError: If all problems are refused DICOM series.
    """
    split, problems = list_split(config)
    refuse(problems, config.datalist or config.csv or "data")
    return split


def list_split(config: DataConfig) -> tuple[Split, list[CtVaeError]]:
    """Return the cases of a configuration, and all problems with them."""
    problems: list[CtVaeError] = []
    if not (config.datalist or config.csv or config.train):
        return _phantoms(config.phantoms or PhantomConfig()), problems
    notes: list[str] = []
    try:
        sides = _sides(config, problems.append, notes.append)
    except ConfigError as error:
        return Split([], []), [error]
    _check_apart(sides, problems.append)
    if config.val_share and not problems:
        _divide(sides, config.val_share, problems.append)
    if not sides.val:
        notes.append(
            "there is no validation case, so errors of whole volumes are not measured and no best "
            "model is saved; data.val_share chooses some of the patients"
        )
    return Split(sides.train, sides.val, notes), problems


def phantom_cases(config: PhantomConfig, count: int, first_seed: int) -> list[PhantomCase]:
    """Return generated cases with consecutive seeds, cycling through the anatomies."""
    names = config.anatomies
    return [
        PhantomCase(names[i % len(names)], first_seed + i, config.spacing_mm) for i in range(count)
    ]


def _phantoms(config: PhantomConfig) -> Split:
    train = phantom_cases(config, config.train, config.seed)
    return Split(train, phantom_cases(config, config.val, config.seed + config.train))


def _sides(config: DataConfig, problem: Problem, note: Note) -> _Sides:
    pattern = config.patient_pattern
    if config.train:
        return _Sides(
            searched_cases(config.train, pattern, problem, note),
            searched_cases(config.val, pattern, problem, note),
        )
    if config.datalist:
        entries = read_datalist(Path(config.datalist), problem, note)
    else:
        assert config.csv
        entries = read_table(Path(config.csv), problem)
        if not any(entry.side == "train" for entry in entries):
            problem(ConfigError("no row is a training case"))
    entries = _folded(entries, config.fold, problem, note)
    sides = _Sides()
    for name in ("train", "val"):
        listed = [entry for entry in entries if entry.side == name]
        getattr(sides, name).extend(listed_cases(listed, pattern, problem))
    # Test volumes may be missing, but their patients must not be in training.
    sides.test.extend(unread_case(entry, pattern) for entry in entries if entry.side == "test")
    return sides


def _folded(
    entries: Sequence[Listed], fold: int | None, problem: Problem, note: Note
) -> list[Listed]:
    """Move the entries of a fold to validation; without a fold, note that folds are ignored."""
    folds = sorted({e.fold for e in entries if e.side == "train" and e.fold is not None})
    numbers = ", ".join(map(str, folds))
    if fold is None:
        if folds:
            note(
                f"all folds ({numbers}) are used for training; data.fold chooses one for validation"
            )
        return list(entries)
    if fold not in folds:
        there = f"they have {numbers}" if folds else "they have none"
        problem(ConfigError(f"no training case is in fold {fold} of data.fold; {there}"))
    elif any(entry.side == "val" for entry in entries):
        problem(ConfigError("data.fold and a list of validation cases exclude each other"))
    elif folds == [fold]:
        problem(ConfigError(f"all training cases are in fold {fold} of data.fold; none is left"))
    return [replace(e, side="val") if e.side == "train" and e.fold == fold else e for e in entries]


def _check_apart(sides: _Sides, problem: Problem) -> None:
    """Report each patient and each volume that is on two sides of the split."""
    seen: dict[str, dict[str, FileCase]] = defaultdict(dict)
    for name, cases in (
        ("training", sides.train),
        ("validation", sides.val),
        ("test", sides.test),
    ):
        for case in cases:
            seen[side_by_side(case)].setdefault(name, case)
    for found in seen.values():
        if len(found) > 1:
            where = " and ".join(f"{name} ({case.key})" for name, case in found.items())
            case = next(iter(found.values()))
            who = f"patient {case.patient!r}" if case.patient else "one patient"
            problem(ConfigError(f"{who if case.owner else 'a volume'} is in {where}"))


def _divide(sides: _Sides, share: float, problem: Problem) -> None:
    """Move a fraction of the patients from training to validation."""
    if sides.val:
        problem(ConfigError("data.val_share and a list of validation cases exclude each other"))
        return
    chosen = Shares(val=share, test=0.0).validating({case.split_by for case in sides.train})
    if not chosen:
        problem(
            ConfigError(
                f"data.val_share {share:g} of one patient leaves no case for validation",
                "list the cases of each side, or identify patients by data.patient_pattern or a "
                "column 'patient'",
            )
        )
    sides.val = [case for case in sides.train if case.split_by in chosen]
    sides.train = [case for case in sides.train if case.split_by not in chosen]
