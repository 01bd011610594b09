"""Cases of DICOM files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ct_vae.find_volumes.case import Case, SearchResult
from ct_vae.find_volumes.left_out import LeftOut, left_out_file
from ct_vae.io.dicom.reader import DECODED
from ct_vae.io.dicom.scan import FoundSeries, scan_files
from ct_vae.io.formats import path_kind


def series_of_files(inputs: Sequence[Path]) -> dict[Path, SearchResult]:
    """Return the common case of DICOM files that are given individually, by file."""
    files = [path for path in dict.fromkeys(inputs) if path_kind(path) == "dicom"]
    found: dict[Path, SearchResult] = {}
    for each in scan_files(files) if len(files) > 1 else ():
        if len(each.files) > 1:
            case = Case(each.path, series_key((each.folder.name,), each.id), each)
            findings = series_cases([each], lambda s: (s.folder.name,), each.folder)
            # A series of few slices is a case if all of its slices are given.
            findings = SearchResult([case], []) if each.short else findings
            found.update(dict.fromkeys(each.files, findings))
    return found


def dicom_cases(files: Sequence[Path], root: Path, named: bool) -> SearchResult:
    """Return the cases of the DICOM files among some files; all other files are left out."""
    series = scan_files(files)
    # A decoded series is a case if its folder is given.
    searched = root if named else None
    found = series_cases(series, lambda each: each.folder.relative_to(root).parts, searched)
    used = {file for each in series for file in each.files}
    found.left_out.extend(left_out_file(path) for path in files if path not in used)
    return found


def series_cases(
    series: Iterable[FoundSeries],
    place: Callable[[FoundSeries], tuple[str, ...]],
    named: Path | None,
) -> SearchResult:
    """Return a case for each series that is a CT volume, even if refused; others are left out.

    Decoded series are left out, except those directly in the given folder or archive. A series of
    few slices is left out, unless it is the only one there.
    """
    found, series = SearchResult([], []), list(series)
    short = [each for each in series if each.short and each.folder == named]
    alone = len(short) == 1 and all(each.verdict == "skipped" for each in series)
    for each in series:
        if each.verdict == "skipped" and not (alone and each is short[0]):
            reason = f"{each.label} is skipped: {each.reason}"
            found.left_out.append(LeftOut(each.folder, "series", reason, each.files))
        elif each.derived and each.folder != named:
            reason = f"{each.label} is {DECODED}"
            found.left_out.append(LeftOut(each.folder, "series", reason, each.files))
        else:
            found.cases.append(Case(each.path, series_key(place(each), each.id), each))
    return found


def series_key(parts: tuple[str, ...], name: str) -> str:
    """Return the key of a series: its folders and its id."""
    return "_".join(filter(None, ("/".join(parts), name)))
