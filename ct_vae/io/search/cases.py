"""From what a user names on the command line to the list of files to work on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import NoReturn

from ct_vae.errors import ConfigError, CtVaeError, NoInputError
from ct_vae.io.archive import ARCHIVE_SUFFIXES
from ct_vae.io.dicom.reader import DECODED
from ct_vae.io.dicom.scan import FoundSeries, scan_files, scan_series, split_series_path
from ct_vae.io.formats import PathKind, kind_and_origin, path_kind
from ct_vae.io.latent.record import SUFFIXES as LATENT_SUFFIXES
from ct_vae.io.latent.record import is_record
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.volumes import read_volume
from ct_vae.io.walk import walk_files
from ct_vae.volume import Volume

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".hdr.gz")

_UNKNOWN: tuple[PathKind, bool] = ("unknown", False)


@dataclass(frozen=True)
class Case:
    """One file to work on.

    Attributes:
        path: Where it is, as it was named or found.
        key: Its path below the folder that was named, with ``/`` and without its suffix; outputs
            that carry it mirror the tree of the inputs. That of a DICOM series is its folder's
            with the number of the series and a hash, such as ``chest/s003_ab12cd34``.
        series: The DICOM series that it is, if it has been found as one; ``path`` names it too.
    """

    path: Path
    key: str
    series: FoundSeries | None = field(default=None, compare=False, repr=False)

    def read(self, options: ReadOptions | None = None) -> Volume:
        """Read the volume, without looking for a series again.

        Raises:
            NoInputError: If it is not there any more.
            InputError: If it is damaged, or refused because its result would be wrong.
        """
        return self.series.read(options) if self.series else read_volume(self.path, options)


@dataclass(frozen=True)
class _Findings:
    """What one input gave: cases, and a line about each series that is no CT volume."""

    cases: list[Case]
    skipped: list[str]

    def add(self, other: _Findings) -> None:
        self.cases.extend(other.cases)
        self.skipped.extend(other.skipped)

    def below(self, folder: str) -> _Findings:
        """The same with keys below a folder."""
        if not folder:
            return self
        cases = [Case(case.path, f"{folder}/{case.key}", case.series) for case in self.cases]
        return _Findings(cases, self.skipped)


def discover(
    inputs: Sequence[str | Path],
    *,
    latents: bool = False,
    suffixes: Sequence[str] = VOLUME_SUFFIXES,
    unique: bool = True,
    report: Callable[[str], None] | None = None,
) -> list[Case]:
    """Find the cases that files, folders and patterns stand for, in a fixed order.

    A file is taken as named, but DICOM files of one series that are named together are one case.
    Folders are searched to any depth, without what is hidden and without
    running in circles. A pattern (``*``, ``?``, ``[...]``, ``**``) is tried when no file has that
    very name. Inside folders and patterns, latents are told from volumes by their record, and
    volumes that a model has decoded are left out. DICOM files become one case per CT series, also
    if it is refused; so do archives that are named or match a pattern. A series of less than four
    slices is a case only where its folder or archive is named and holds nothing else.

    Args:
        inputs: What the user named.
        latents: Whether to take latents from folders and patterns, instead of volumes.
        suffixes: How names of volumes end, in lower case.
        unique: Whether outputs will be named by keys, so that no two may be the same.
        report: Takes a line about each DICOM series that is skipped, being no CT volume, and each
            folder below one that was named that cannot be searched.

    Raises:
        NoInputError: If an input does not exist or gives nothing.
        ConfigError: If two files would get the same key.
    """
    endings = LATENT_SUFFIXES if latents else tuple(suffixes)
    cases: dict[str, Case] = {}
    slices = {} if latents else _series_of_files(list(map(Path, inputs)))
    for given in inputs:
        found = slices.get(Path(given)) or _found(Path(given), latents, endings)
        if not found.cases:
            _refuse_nothing(given, latents, endings, found.skipped)
        if report:
            for line in found.skipped:
                report(line)
        for case in found.cases:
            # The same file may be named twice; a link to a file is a file of its own.
            place = os.path.realpath(case.path.parent)
            cases.setdefault(f"{place}/{case.path.name}", case)
    cases = {place: case for place, case in cases.items() if not is_record(case.path)}
    if not cases:
        raise NoInputError("no input was given", "name files, folders or patterns")
    if unique:
        _refuse_collisions(cases.values())
    return list(cases.values())


def _found(given: Path, latents: bool, endings: tuple[str, ...]) -> _Findings:
    try:
        if os.path.lexists(given) and not given.is_dir():
            return _of_file(given, latents, endings)
        if not latents and (wanted := split_series_path(given)[1]):
            return _Findings([Case(given, _series_key((given.parent.name,), wanted))], [])
        return _of_tree(given, latents, endings)
    except OSError as error:
        place = error.filename or given
        raise NoInputError(f"{place}: cannot be searched: {error.strerror}") from error


def _series_of_files(inputs: Sequence[Path]) -> dict[Path, _Findings]:
    """By file, the one case of all DICOM files of its series that were named with it."""
    files = [path for path in dict.fromkeys(inputs) if path_kind(path) == "dicom"]
    found: dict[Path, _Findings] = {}
    for each in scan_files(files) if len(files) > 1 else ():
        if len(each.files) > 1:
            case = Case(each.path, _series_key((each.folder.name,), each.id), each)
            findings = _of_series([each], lambda s: (s.folder.name,), each.folder)
            # A user who names every slice means them.
            findings = _Findings([case], []) if each.short else findings
            found.update(dict.fromkeys(each.files, findings))
    return found


def _of_file(given: Path, latents: bool, endings: tuple[str, ...], named: bool = True) -> _Findings:
    stem = _stem(given.name, (*endings, *ARCHIVE_SUFFIXES))
    itself = _Findings([Case(given, stem)], [])
    try:
        if latents or path_kind(given) != "archive":
            return itself
        series = scan_series(given)
    except (CtVaeError, OSError):
        # The case fails for the same reason when its turn comes, and the others are done.
        return itself
    return _of_series(series, lambda _: (stem,), given if named else None) if series else itself


def _of_tree(given: Path, latents: bool, endings: tuple[str, ...]) -> _Findings:
    root, pattern = _split_pattern(given)
    found, others, archives = _Findings([], []), [], []
    barred: dict[Path, str] = {}
    for path in walk_files(root, barred):
        parts = path.relative_to(root).parts
        if not _matches_part(parts, pattern):
            continue
        named = path.name.lower().endswith(endings)
        kind, derived = kind_and_origin(path) if named else _UNKNOWN
        if kind == "archive" or (pattern and path.name.lower().endswith(ARCHIVE_SUFFIXES)):
            archives.append(path)
        elif not named or kind == "dicom":
            others.append(path)
        elif (kind == "latent") == latents and (latents or not derived):
            found.cases.append(Case(path, "/".join((*parts[:-1], _stem(path.name, endings)))))
    found.skipped.extend(f"{folder} {reason}" for folder, reason in barred.items())
    if not latents:
        series = scan_files(others)
        # A folder that directly holds a decoded series names it.
        searched = None if pattern else root
        found.add(_of_series(series, lambda each: each.folder.relative_to(root).parts, searched))
        for path in archives:
            parent = path.relative_to(root).parts[:-1]
            inside = _of_file(path, latents, endings, named=False)
            found.add(inside.below("/".join(parent)))
    return found


def _of_series(
    series: Iterable[FoundSeries],
    place: Callable[[FoundSeries], tuple[str, ...]],
    named: Path | None,
) -> _Findings:
    """A case for each series that is a CT volume, be it refused, and a line for each other.

    Decoded ones are left out, but for those directly in the folder or archive that was named. So
    is one of few slices, unless it is the only one there.
    """
    found, series = _Findings([], []), list(series)
    short = [each for each in series if each.short and each.folder == named]
    alone = len(short) == 1 and all(each.verdict == "skipped" for each in series)
    for each in series:
        if each.verdict == "skipped" and not (alone and each is short[0]):
            found.skipped.append(f"{each.folder}: {each.label} is skipped: {each.reason}")
        elif each.derived and each.folder != named:
            found.skipped.append(f"{each.folder}: {each.label} is {DECODED}")
        else:
            found.cases.append(Case(each.path, _series_key(place(each), each.id), each))
    return found


def _series_key(parts: tuple[str, ...], name: str) -> str:
    return "_".join(filter(None, ("/".join(parts), name)))


def _split_pattern(given: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder before the first wildcard, and the pattern below it, which a folder lacks."""
    root = next((folder for folder in (given, *given.parents) if folder.is_dir()), given)
    pattern = given.relative_to(root).parts
    # What has no wildcard above the first one is a folder that should be there.
    if pattern and not any(sign in pattern[0] for sign in "*?["):
        raise NoInputError(f"{given}: there is no such file or folder")
    return root, pattern


def _matches_part(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a pattern names a file or a folder that holds it; no pattern names all."""
    if not pattern:
        return True
    lengths = range(1, len(parts) + 1) if "**" in pattern else range(len(pattern), len(pattern) + 1)
    return any(_matches(parts[:n], pattern) for n in lengths if n <= len(parts))


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or bool(parts and _matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _stem(name: str, endings: tuple[str, ...]) -> str:
    for ending in sorted(endings, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return PurePath(name).stem


def _refuse_nothing(
    given: str | Path, latents: bool, endings: tuple[str, ...], skipped: Sequence[str]
) -> NoReturn:
    kind = "latents of this package" if latents else "volumes"
    others = "" if latents else " or DICOM files"
    told = f": {'; '.join(skipped[:10])}" if skipped else ""
    raise NoInputError(
        f"{given}: no {kind} found among files named {', '.join(endings)}{others}{told}"
    )


def _refuse_collisions(cases: Iterable[Case]) -> None:
    by_key: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        by_key[case.key].append(str(case.path))
    clashes = [f"{key}: {' and '.join(paths)}" for key, paths in by_key.items() if len(paths) > 1]
    if clashes:
        more = f" (and {len(clashes) - 10} more)" if len(clashes) > 10 else ""
        raise ConfigError(
            f"several inputs would give outputs of the same name: {'; '.join(clashes[:10])}{more}",
            "rename them, or name one folder above them all so that outputs mirror its tree",
        )
