"""Search for the files, DICOM series and archives of an inventory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from ct_vae.errors import NoInputError
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES
from ct_vae.find_volumes.left_out import left_out_file
from ct_vae.io.archive import ARCHIVE_SUFFIXES
from ct_vae.io.dicom.scan import FoundSeries, scan_files, split_series_path
from ct_vae.io.formats import path_kind
from ct_vae.io.latent.record import CODED_SUFFIX
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.source_files import data_files
from ct_vae.io.walk import real_path, walk_files

# Replaces the names of files in the relative path of a series.
_SERIES = "series"


@dataclass(frozen=True)
class Item:
    """One item of an inventory.

    Attributes:
        path: Path as it was given or found; for a series, a path for `read_volume`.
        below: Path relative to the searched path.
        kind: Kind of the item; an archive may contain several series, a folder cannot be searched,
            and an unread file is a volume in an unsupported format.
        series: The series, if it is one.
        wanted: Id of the requested series of an archive, or ``""`` for all.
        problem: Reason why a folder cannot be searched, or a file cannot be read.
    """

    path: Path
    below: PurePath
    kind: Literal["file", "series", "archive", "folder", "unread"]
    series: FoundSeries | None = field(default=None, compare=False, repr=False)
    wanted: str = ""
    problem: str = ""

    @property
    def place(self) -> str:
        """Location without links to folders, equal for all paths to it."""
        if self.series:
            return f"{os.path.realpath(self.series.folder)}/#{self.series.id}"
        return f"{os.path.realpath(self.path.parent)}/{self.path.name}#{self.wanted}"


@dataclass(frozen=True)
class FoundItems:
    """Items in a fixed order, and the other files in the folders."""

    items: Sequence[Item]
    others: Sequence[Path]

    @property
    def other_files(self) -> int:
        """Number of files that belong to no item."""
        return len(self.others)


def find_items(
    paths: Sequence[str | Path],
    options: ReadOptions | None = None,
    report: Callable[[int], None] | None = None,
) -> FoundItems:
    """Find the items in files and, to any depth, in folders, without hidden files.

    A DICOM file refers to its series in the same folder. ``PATH/#id`` selects one series of a
    folder or archive.

    Args:
        paths: Given paths.
        options: Options of reading.
        report: Called with the growing number of inspected files that may be DICOM.

    Raises:
        NoInputError: If a path does not exist, or cannot be searched.
    """
    search = _Search(options or ReadOptions(), report)
    given = [Path(path) for path in paths]
    for path in given:
        if not os.path.lexists(path) and not split_series_path(path)[1]:
            raise NoInputError(f"{path}: there is no such file or folder")
    loose = {path for path in given if _is_loose(path)}
    found: dict[str, Item] = {}
    for path in given:
        if path not in loose:
            search.add(path, found)
    search.add_series_of(loose, found)
    return FoundItems(list(found.values()), search.others)


@dataclass
class _Search:
    """State of a search: counts of inspected files, and files that belong to no item."""

    options: ReadOptions
    report: Callable[[int], None] | None
    looked_into: int = 0
    others: list[Path] = field(default_factory=list)

    def add(self, path: Path, found: dict[str, Item]) -> None:
        """Add the items of a path."""
        place, wanted = split_series_path(path)
        if place.is_dir():
            inside, others = self._tree(place)
            items = [i for i in inside if not wanted or (i.series and i.series.id == wanted)]
            if wanted and not items:
                raise NoInputError(f"{path}: there is no such series")
            self.others += [] if wanted else others
        else:
            kind = _file_or_archive(place)
            items = [Item(place, PurePath(place.name), kind, wanted=wanted)]
        for item in items:
            found.setdefault(item.place, item)

    def add_series_of(self, files: set[Path], found: dict[str, Item]) -> None:
        """Add the series of DICOM files, and the entries for damaged files in their folders."""
        for folder in sorted({path.parent for path in files}):
            for item in self._tree(folder)[0]:
                if item.series is None:
                    continue
                # A damaged file in the same folder may belong to the series.
                damaged = item.series.unreadable and item.series.folder == folder
                if damaged or files & set(item.series.files):
                    found.setdefault(item.place, item)

    def _tree(self, root: Path) -> tuple[list[Item], list[Path]]:
        """Return the items in a folder, and its files that belong to no item."""
        files, items = _files_below(root)
        others: list[Path] = []
        for path in files:
            named = path.name.lower().endswith((*VOLUME_SUFFIXES, *ARCHIVE_SUFFIXES, CODED_SUFFIX))
            if named and path_kind(path) != "dicom":
                items.append(Item(path, path.relative_to(root), _file_or_archive(path)))
            else:
                others.append(path)
        series = scan_files(map(self._count, others), self.options)
        used = {file for each in series for file in each.files}
        # Data files belong to their headers.
        for item in items:
            used.update(data_files(item.path) if item.kind == "file" else ())
        items += _of_series(series, root)
        rest = [
            left_out_file(path)
            for path in others
            if path not in used and real_path(path) not in used
        ]
        for each in rest:
            if each.kind in {"unread", "maybe"}:
                below = each.path.relative_to(root)
                items.append(Item(each.path, below, "unread", problem=each.reason))
        plain = [each.path for each in rest if each.kind == "other"]
        return sorted(items, key=lambda item: item.path.parts), plain

    def _count(self, path: Path) -> Path:
        self.looked_into += 1
        if self.report:
            self.report(self.looked_into)
        return path


def series_paths(series: Sequence[FoundSeries]) -> list[Path]:
    """Return a path for `read_volume` for each series of one search.

    The path is the folder or archive if it contains no other possible CT volume, and ``PATH/#id``
    otherwise.
    """
    holders: Counter[Path] = Counter()
    for each in series:
        if each.verdict != "skipped":
            places = {each.folder, *(file.parent for file in each.files)}
            holders.update({folder for p in places for folder in (p, *p.parents)})
    alone = [each.verdict != "skipped" and holders[each.folder] == 1 for each in series]
    return [e.folder if single else e.path for e, single in zip(series, alone, strict=True)]


def _of_series(series: Sequence[FoundSeries], root: Path) -> Iterable[Item]:
    for each, path in zip(series, series_paths(series), strict=True):
        yield Item(path, each.folder.relative_to(root) / _SERIES, "series", each)


def _is_loose(path: Path) -> bool:
    """Return True if a given file is a DICOM file, such as one of many slices."""
    # DICOM files without preamble are recognized only by their header.
    return path_kind(path) in {"dicom", "unknown"} and bool(scan_files([path]))


def _file_or_archive(path: Path) -> Literal["archive", "file"]:
    return "archive" if path_kind(path) == "archive" else "file"


def _files_below(root: Path) -> tuple[list[Path], list[Item]]:
    """Return the files below a folder, and an item for each folder that cannot be listed."""
    barred: dict[Path, str] = {}
    try:
        files = list(walk_files(root, barred))
    except OSError as error:
        folder = Path(error.filename or root)
        raise NoInputError(f"{folder}: cannot be searched: {error.strerror}") from error
    return files, [
        Item(folder, folder.relative_to(root), "folder", problem=reason)
        for folder, reason in barred.items()
    ]
