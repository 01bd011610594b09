"""Search for the cases that files, folders and patterns on the command line refer to."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import NoReturn

from ct_vae.errors import ConfigError, CtVaeError, NoInputError
from ct_vae.find_volumes.case import Case, FoundCases, SearchResult
from ct_vae.find_volumes.left_out import LeftOut, left_out_file, reported_lines
from ct_vae.find_volumes.remote_cases import remote_cases
from ct_vae.find_volumes.series_cases import dicom_cases, series_cases, series_key, series_of_files
from ct_vae.io.archive import ARCHIVE_SUFFIXES
from ct_vae.io.dicom.reader import DECODED
from ct_vae.io.dicom.scan import scan_series, split_series_path
from ct_vae.io.formats import PathKind, kind_and_origin, path_kind
from ct_vae.io.latent.record import SUFFIXES as LATENT_SUFFIXES
from ct_vae.io.latent.record import is_coded_name, is_record
from ct_vae.io.nifti.pair import PAIR_SUFFIXES
from ct_vae.io.remote import is_url
from ct_vae.io.source_files import data_files
from ct_vae.io.walk import real_path, walk_files

__all__ = ["VOLUME_SUFFIXES", "Case", "FoundCases", "discover"]

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".hdr.gz")

_UNKNOWN: tuple[PathKind, bool] = ("unknown", False)
_NOT_UNPACKED = "an archive, which is searched only if it is given or matches a pattern"


def discover(
    inputs: Sequence[str | Path],
    *,
    latents: bool = False,
    suffixes: Sequence[str] = VOLUME_SUFFIXES,
    unique: bool = True,
    report: Callable[[str], None] | None = None,
) -> FoundCases:
    """Find the cases for files, folders, patterns and URLs, in a fixed order.

    Each given file is a case, except that DICOM files of one series are one case. Folders are
    searched to any depth, without hidden files. A pattern (``*``, ``?``, ``[...]``, ``**``) applies
    if no file has that name. In folders and patterns, latents are recognized by their record, and
    decoded volumes are left out. DICOM files become one case per CT series, even if it is refused,
    and so do archives that are given or match a pattern. A series with fewer than four slices is a
    case only if its folder or archive is given and has no other series.

    Args:
        inputs: Paths, patterns and URLs.
        latents: True to search for latents instead of volumes.
        suffixes: Suffixes of volumes, in lower case.
        unique: True if keys must be unique, since they become names of outputs.
        report: Called with a line for each skipped DICOM series, each file in an unsupported
            format, and each folder that cannot be searched.

    Returns:
        The cases, with everything else in the folders as ``left_out``.

    Raises:
        NoInputError: If an input does not exist or has no case.
        ConfigError: If two cases have the same key and ``unique`` is True.
    """
    endings = LATENT_SUFFIXES if latents else tuple(suffixes)
    cases: dict[str, Case] = {}
    left_out: dict[tuple[str, str], LeftOut] = {}
    local = [Path(given) for given in inputs if not is_url(given)]
    slices = {} if latents else series_of_files(local)
    for given in inputs:
        if is_url(given):
            found = remote_cases(str(given), latents, endings)
        else:
            found = slices.get(Path(given)) or _found(Path(given), latents, endings)
        if not found.cases:
            _refuse_nothing(given, latents, endings, found.left_out)
        for each in found.left_out:
            left_out.setdefault((os.path.realpath(each.path), each.reason), each)
        for case in found.cases:
            # A file that is given twice is one case; a link to a file is another case.
            place = os.path.realpath(case.path.parent)
            own = f"{place}/{case.path.name}" if case.remote is None else case.source
            cases.setdefault(own, case)
    records = [case for case in cases.values() if is_record(case.path)]
    cases = {place: case for place, case in cases.items() if not is_record(case.path)}
    if records and not cases:
        raise NoInputError(f"{records[0].source}: is the record of a latent", "give the latent")
    if not cases:
        raise NoInputError("no input was given", "name files, folders or patterns")
    if unique:
        _refuse_collisions(cases.values())
    if report:
        for each in left_out.values():
            # What the user expects to be processed is also reported with --quiet.
            mark = "warning: " if each.meant or each.kind == "folder" else ""
            for line in reported_lines([each]):
                report(f"{mark}{line}")
    return FoundCases(cases.values(), left_out.values())


def _found(given: Path, latents: bool, endings: tuple[str, ...]) -> SearchResult:
    try:
        if os.path.lexists(given) and not given.is_dir():
            return _of_file(given, latents, endings)
        if not latents and (wanted := split_series_path(given)[1]):
            return SearchResult([Case(given, series_key((given.parent.name,), wanted))], [])
        return _of_tree(given, latents, endings)
    except OSError as error:
        place = error.filename or given
        raise NoInputError(f"{place}: cannot be searched: {error.strerror}") from error


def _of_file(
    given: Path, latents: bool, endings: tuple[str, ...], named: bool = True
) -> SearchResult:
    stem = _stem(given.name, (*endings, *ARCHIVE_SUFFIXES))
    itself = SearchResult([Case(given, stem)], [])
    try:
        if latents or path_kind(given) != "archive":
            return itself
        series = scan_series(given)
    except (CtVaeError, OSError):
        # The case fails later with the same error, and the others are processed.
        return itself
    return series_cases(series, lambda _: (stem,), given if named else None) if series else itself


def _of_tree(given: Path, latents: bool, endings: tuple[str, ...]) -> SearchResult:
    root, pattern = _split_pattern(given)
    found, others, archives = SearchResult([], []), [], []
    headers: list[Path] = []
    barred: dict[Path, str] = {}
    for path in walk_files(root, barred):
        parts = path.relative_to(root).parts
        if not matches_part(parts, pattern):
            continue
        name = path.name.lower()
        named = name.endswith(endings)
        kind, derived = kind_and_origin(path) if named else _UNKNOWN
        if not named and is_coded_name(path):
            found.left_out.append(_not_wanted(path, "latent", latents))
            continue
        if kind in {"metaimage", "nrrd"} or (named and name.endswith(PAIR_SUFFIXES)):
            headers.append(path)
        if kind == "archive" or name.endswith(ARCHIVE_SUFFIXES):
            archives.append(path)
        elif not named or kind == "dicom":
            others.append(path)
        elif (kind == "latent") == latents and (latents or not derived):
            found.cases.append(Case(path, "/".join((*parts[:-1], _stem(path.name, endings)))))
        else:
            found.left_out.append(_not_wanted(path, kind, latents))
    found.left_out.extend(LeftOut(f, "folder", reason) for f, reason in barred.items())
    # Data files belong to their headers.
    apart = {file for path in headers for file in data_files(path)} if others else set()
    others = [path for path in others if path not in apart and real_path(path) not in apart]
    if latents:
        # Records belong to their latents.
        rest = [path for path in (*others, *archives) if not is_record(path)]
        found.left_out.extend(map(_not_a_latent, rest))
        return found
    found.add(dicom_cases(others, root, named=not pattern))
    for path in archives:
        # Folders may contain archives of anything.
        if pattern or path.name.lower().endswith(endings):
            parent = path.relative_to(root).parts[:-1]
            inside = _of_file(path, latents, endings, named=False)
            found.add(inside.below("/".join(parent)))
        else:
            found.left_out.append(LeftOut(path, "archive", _NOT_UNPACKED, (path,)))
    return found


def _not_a_latent(path: Path) -> LeftOut:
    """Return the entry for another file in a search for latents."""
    # Only a latent in a compression that is not supported is expected to be decoded.
    if "_latent." in path.name.lower():
        return left_out_file(path)
    return _not_wanted(path, "unknown", latents=True)


def _not_wanted(path: Path, kind: PathKind, latents: bool) -> LeftOut:
    """Return the entry for a file that is a latent or volume while the other kind is searched."""
    if latents:
        return LeftOut(path, "other", "not a latent", (path,))
    if kind == "latent":
        return LeftOut(path, "latent", "a latent of this package", (path,))
    return LeftOut(path, "decoded", DECODED, (path,))


def _split_pattern(given: Path) -> tuple[Path, tuple[str, ...]]:
    """Split a path into its existing folder and the pattern below it, which may be empty."""
    root = next((folder for folder in (given, *given.parents) if folder.is_dir()), given)
    pattern = given.relative_to(root).parts
    # Without a wildcard, the first missing part is a folder that does not exist.
    if pattern and not any(sign in pattern[0] for sign in "*?["):
        raise NoInputError(f"{given}: there is no such file or folder")
    return root, pattern


def _stem(name: str, endings: tuple[str, ...]) -> str:
    for ending in sorted(endings, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return PurePath(name).stem


def _refuse_nothing(
    given: str | Path, latents: bool, endings: tuple[str, ...], left_out: Sequence[LeftOut]
) -> NoReturn:
    kind = "latents of this package" if latents else "volumes"
    others = "" if latents else " or DICOM files"
    lines = list(reported_lines(left_out))
    reasons = f": {'; '.join(lines[:10])}" if lines else ""
    raise NoInputError(
        f"{given}: no {kind} found among files named {', '.join(endings)}{others}{reasons}"
    )


def _refuse_collisions(cases: Iterable[Case]) -> None:
    by_key: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        by_key[case.key].append(case.source)
    clashes = [f"{key}: {' and '.join(paths)}" for key, paths in by_key.items() if len(paths) > 1]
    if clashes:
        more = f" (and {len(clashes) - 10} more)" if len(clashes) > 10 else ""
        raise ConfigError(
            f"several inputs have the same output name: {'; '.join(clashes[:10])}{more}",
            "rename them, or give their common folder so that outputs mirror its tree",
        )


def matches_part(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a pattern matches a path or one of the folders above it.

    Args:
        parts: Parts of the path.
        pattern: Parts of the pattern, in which ``**`` matches any number of folders. An empty
            pattern matches everything.
    """
    if not pattern:
        return True
    places = _with_empty(pattern, {0})
    for part in parts:
        after = set()
        for place in places:
            if place < len(pattern) and pattern[place] == "**":
                after.add(place)
            elif place < len(pattern) and fnmatchcase(part, pattern[place]):
                after.add(place + 1)
        places = _with_empty(pattern, after)
        if len(pattern) in places:
            return True
    return False


def _with_empty(pattern: Sequence[str], places: Iterable[int]) -> set[int]:
    """Add the indices that are reached if ``**`` matches no folder."""
    found: set[int] = set()
    for place in places:
        here = place
        found.add(here)
        while here < len(pattern) and pattern[here] == "**":
            here += 1
            found.add(here)
    return found
