"""Cases in files, from lists and searches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from ct_vae.datasets.sources.case import FileCase
from ct_vae.datasets.sources.entry import Listed, Note, Problem
from ct_vae.errors import ConfigError, CtVaeError, InputError
from ct_vae.find_volumes.cases import Case, discover
from ct_vae.find_volumes.left_out import count_line, reported_lines
from ct_vae.find_volumes.patients import digest, listed_key, patient_digest, patient_in_path
from ct_vae.io import FoundSeries, scan_series
from ct_vae.io.dicom.scan import split_series_path
from ct_vae.io.formats import path_kind

# Number of left-out items to report for one input.
_SHOWN = 10


def searched_cases(
    inputs: Sequence[str], pattern: str | None, problem: Problem, note: Note = lambda _: None
) -> list[FileCase]:
    """Find the cases for files, folders and glob patterns, each once.

    Args:
        inputs: Paths and patterns in the configuration.
        pattern: Regular expression for the patient in a path.
        problem: Called with an error for each input without cases and each refused series.
        note: Called with lines about files and series that are left out.
    """
    cases: dict[str, FileCase] = {}
    for given in inputs:
        try:
            found = discover([given], unique=False)
        except CtVaeError as error:
            problem(ConfigError(error.cause, error.hint))
            continue
        if found.left_out:
            note(f"{given}: left out: {count_line(found.left_out)}")
        lines = list(reported_lines(found.left_out))
        for line in lines[:_SHOWN]:
            note(f"left out: {line}")
        if len(lines) > _SHOWN:
            note(f"left out: and {len(lines) - _SHOWN} more, which `ct-vae scan` lists")
        for case in found:
            try:
                cases.setdefault(_place(case.path), _searched(case, pattern))
            except CtVaeError as error:
                problem(error)
    return list(cases.values())


def listed_cases(
    entries: Sequence[Listed], pattern: str | None, problem: Problem
) -> list[FileCase]:
    """Find the cases of a list.

    Args:
        entries: Entries of one part of the split.
        pattern: Regular expression for the patient in a path as written.
        problem: Called with an error for each missing, repeated or refused entry.
    """
    cases: dict[str, FileCase] = {}
    scanned: dict[Path, list[FoundSeries]] = {}
    for entry in entries:
        try:
            place = _place(entry.path)
            if place in cases:
                raise ConfigError(f"{entry.where} {entry.text} is listed twice")
            cases[place] = _listed(entry, pattern, scanned)
        except CtVaeError as error:
            problem(error)
    return list(cases.values())


def unread_case(entry: Listed, pattern: str | None) -> FileCase:
    """Return a case that is not read and only identifies its patient."""
    patient = entry.patient or patient_in_path(entry.text, pattern)
    owner = digest(patient) if patient else ""
    return FileCase(Path(entry.text).as_posix(), entry.path, None, patient, owner)


def side_by_side(case: FileCase) -> str:
    """Return an identifier of the patient, or of the volume, that must be on one side only."""
    return case.owner or _place(case.path)


def _searched(case: Case, pattern: str | None) -> FileCase:
    if case.series and case.series.verdict == "refused":
        raise InputError(f"{case.path}: {case.series.reason}")
    patient = patient_in_path(case.key if pattern is None else case.path.as_posix(), pattern)
    if pattern is not None and patient is None:
        raise ConfigError(f"{case.path}: data.patient_pattern finds no patient in this path")
    fallback = patient_digest(case.path, PurePath(case.key), case.series)
    owner = digest(patient) if patient else fallback if case.series else ""
    return FileCase(case.key, case.path, case.series, patient, owner, split_by=owner or fallback)


def _listed(entry: Listed, pattern: str | None, scanned: dict[Path, list[FoundSeries]]) -> FileCase:
    what = f"{entry.where} {entry.text}"
    place, wanted = split_series_path(entry.path)
    if not place.exists():
        raise ConfigError(f"{what} is missing", "relative paths start at the folder of the list")
    patient = entry.patient or patient_in_path(entry.text, pattern)
    if pattern is not None and patient is None:
        raise ConfigError(f"{what}: data.patient_pattern finds no patient in this path")
    series = None
    if place.is_dir() or path_kind(entry.path) in {"series", "archive"}:
        if place not in scanned:
            scanned[place] = scan_series(place, entry.options)
        series = _the_series(scanned[place], wanted, what)
    owner = digest(patient) if patient else ""
    if series and not owner:
        owner = patient_digest(entry.path, PurePath(entry.text), series)
    # A folder is read by its path, with checks of all files in it.
    known = series if wanted else None
    return FileCase(
        key=Path(entry.text).as_posix(),
        path=entry.path,
        series=known,
        patient=patient,
        owner=owner,
        options=entry.options,
        split_by=owner or digest(listed_key(entry.text)),
        weight=entry.weight,
    )


def _the_series(found: Sequence[FoundSeries], wanted: str, what: str) -> FoundSeries:
    """Return the series to which an entry refers.

    Raises:
        ConfigError: If the series is ambiguous or does not exist.
        InputError: If the series is refused.
    """
    if wanted:
        named = [each for each in found if each.id == wanted]
        if not named:
            ids = ", ".join(each.id for each in found[:10]) or "none"
            raise ConfigError(f"{what}: there is no such series; there are: {ids}")
        if named[0].verdict != "ok" and not named[0].short:
            raise InputError(f"{what}: {named[0].verdict}: {named[0].reason}")
        return named[0]
    fit = [each for each in found if each.verdict == "ok"]
    fit = [each for each in fit if not each.derived] or fit
    fit = fit or _only_short(found)
    if len(fit) > 1:
        labels = ", ".join(each.label for each in fit[:10])
        raise ConfigError(
            f"{what}: has {len(fit)} CT series instead of one: {labels}",
            f"select one by its id, such as FOLDER/#{fit[0].id}",
        )
    if not fit:
        reasons = "; ".join(f"{each.label}: {each.reason}" for each in found[:10])
        raise InputError(f"{what}: has no readable CT series{': ' * bool(reasons)}{reasons}")
    return fit[0]


def _only_short(found: Sequence[FoundSeries]) -> list[FoundSeries]:
    """Return the series of few slices in a folder if it is the only one."""
    short = [each for each in found if each.short]
    whole = all(each.verdict == "skipped" for each in found)
    return short if whole and len(short) == 1 else []


def _place(path: Path) -> str:
    """Return the location of a volume without links to folders, equal for all paths to it."""
    return f"{os.path.realpath(path.parent)}/{path.name}"
