"""Search for DICOM series in folders, files and archives.

``FOLDER/#s003_ab12cd34`` selects one of several series in a folder or archive by its id.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.io.archive import extracted, is_archive
from ct_vae.io.dicom.file import quiet
from ct_vae.io.dicom.grouping.group_series import group_images
from ct_vae.io.dicom.grouping.image_group import MIN_SLICES, ImageGroup
from ct_vae.io.dicom.headers import read_images
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.pixels import MAX_THREADS
from ct_vae.io.dicom.volume import check_group, read_group
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import reading
from ct_vae.io.walk import walk_files
from ct_vae.volume import Volume

MARK = "#"
_UNREADABLE = "unreadable_"
Verdict = Literal["ok", "refused", "skipped"]
_SHOWN = 10
_BATCH = 1024


@dataclass(frozen=True, eq=False)
class FoundSeries:
    """A series, or one of its volumes, and whether it can be read.

    Attributes:
        id: Series number and a hash that does not depend on the path, such as ``s003_ab12cd34``.
        number: Series number, if present.
        modality: Modality, such as ``CT``.
        slices: Number of images.
        size: Columns, rows and slices; ``None`` if unknown.
        spacing_mm: Spacing along these axes.
        verdict: ``"ok"``, ``"refused"`` for a CT series that cannot be read correctly, or
            ``"skipped"`` if it is not a CT volume.
        reason: Reason if the verdict is not ``"ok"``.
        record_reason: The reason without names of files, for records.
        folder: Common folder of its files, or the archive.
        group: Headers of its images.
    """

    id: str
    number: int | None
    modality: str
    slices: int
    size: tuple[int, int, int] | None
    spacing_mm: tuple[float, float, float] | None
    verdict: Verdict
    reason: str
    record_reason: str
    folder: Path
    group: ImageGroup = field(repr=False)
    _archive: Path | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        """Path of this series for `read_volume`."""
        return self.folder / f"{MARK}{self.id}"

    @property
    def derived(self) -> bool:
        """True if the series was decoded by a model of this package."""
        return any(image.derived for image in self.group.images)

    @property
    def short(self) -> bool:
        """True if it is skipped only because of its few slices; it is read if the user names it."""
        return self.verdict == "skipped" and self.group.short

    @property
    def unreadable(self) -> bool:
        """True if it represents files that cannot be read."""
        return self.id.startswith(_UNREADABLE)

    @property
    def label(self) -> str:
        """Description of the series without identifying information."""
        name = "a series" if self.number is None else f"series {self.number}"
        images = f"{self.slices} image{'s' if self.slices != 1 else ''}"
        return f"{name} ({self.id}, {self.modality}, {images})"

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the series, including duplicates; empty for a series in an archive."""
        if self._archive:
            return ()
        images = (*self.group.images, *self.group.duplicates)
        return tuple({image.path: None for image in images})

    def read(self, options: ReadOptions | None = None) -> Volume:
        """Read the series with other options than in the search.

        Raises:
            InputError: If the series is refused or damaged.
            NoInputError: If the series is not a CT volume.
        """
        options = options or ReadOptions()
        with reading(self.path):
            if self._archive is None:
                return self.read_in_place(options)
            with extracted(self._archive) as folder:
                found = scan_files(walk_files(folder), options)
                return named_series(found, self.id).read_in_place(options)

    def read_in_place(self, options: ReadOptions) -> Volume:
        """Read the series from its extracted files; errors do not name the series."""
        if self.group.skip:
            raise NoInputError(f"is not a CT volume: {self.group.skip}")
        return read_group(self.group, options)


def split_series_path(path: Path) -> tuple[Path, str]:
    """Split ``PATH/#id`` into the folder or archive and the id; the id is ``""`` if absent."""
    if path.name.startswith(MARK) and not os.path.lexists(path) and path.parent.exists():
        return path.parent, path.name[len(MARK) :]
    return path, ""


def scan_series(
    paths: str | Path | Iterable[str | Path], options: ReadOptions | None = None
) -> list[FoundSeries]:
    """Find all series in folders (to any depth), files and archives.

    All given files are searched together, so that a list of files may be one series. Other files
    are ignored. Damaged DICOM files are returned as a refused entry, and every CT series with files
    in the same folder is refused too, since it may lack a slice.

    Args:
        paths: One or several paths.
        options: Options of reading.

    Raises:
        NoInputError: If a path does not exist.
        InputError: If an archive is damaged or unsafe.
    """
    options = options or ReadOptions()
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    files: dict[Path, None] = {}
    found: list[FoundSeries] = []
    for path in given:
        with reading(path):
            if path.is_dir():
                files.update(dict.fromkeys(walk_files(path)))
            elif is_archive(path):
                with extracted(path) as folder:
                    inside = scan_files(walk_files(folder), options)
                found += [replace(each, folder=path, _archive=path) for each in inside]
            else:
                path.stat()
                files[path] = None
    found += scan_files(files, options)
    return sorted(found, key=lambda each: (str(each.folder), each.number or 0, each.id))


def scan_files(files: Iterable[Path], options: ReadOptions | None = None) -> list[FoundSeries]:
    """Find the series of some files, as `scan_series` does; archives are not extracted."""
    images: list[ImageHeader] = []
    broken: dict[Path, list[tuple[Path, CtVaeError]]] = defaultdict(list)
    paths = iter(files)
    with quiet(), ThreadPoolExecutor(MAX_THREADS) as pool:
        while batch := list(islice(paths, _BATCH)):
            for path, result in zip(batch, pool.map(_read_headers, batch), strict=True):
                if isinstance(result, CtVaeError):
                    broken[path.parent].append((path, result))
                else:
                    images += result
    found = [_judge(group, broken, options or ReadOptions()) for group in group_images(images)]
    found += [_unreadable(folder, each) for folder, each in broken.items()]
    return _with_own_ids(found)


def named_series(found: Sequence[FoundSeries], wanted: str) -> FoundSeries:
    """Return the series with an id.

    Raises:
        NoInputError: If there is no such series.
    """
    # A number after the id distinguishes series with identical headers.
    for id_ in (wanted, wanted.rpartition("-")[0]):
        chosen = [each for each in found if each.id == id_]
        if chosen:
            return chosen[0]
    ids = ", ".join(each.id for each in found[:_SHOWN]) or "none"
    raise NoInputError(f"there is no such series; there are: {ids}")


def _with_own_ids(found: Sequence[FoundSeries]) -> list[FoundSeries]:
    """Make ids unique by appending a number to repeated ones."""
    seen: Counter[str] = Counter()
    named = []
    for each in found:
        seen[each.id] += 1
        count = seen[each.id]
        named.append(each if count == 1 else replace(each, id=f"{each.id}-{count}"))
    return named


def _read_headers(path: Path) -> list[ImageHeader] | CtVaeError:
    try:
        return read_images(path) if path.is_file() else []
    except CtVaeError as error:
        return error
    except (OSError, MemoryError) as error:
        return InputError(f"cannot be read: {getattr(error, 'strerror', None) or 'no memory'}")


def _judge(
    group: ImageGroup, broken: dict[Path, list[tuple[Path, CtVaeError]]], options: ReadOptions
) -> FoundSeries:
    images = group.images
    damaged = [each for p in {i.path.parent for i in images} for each in broken.get(p, [])]
    if damaged and not group.skip and not group.problem:
        cause = f"a slice may be missing: in the same folder, {_describe(damaged)}"
        group = replace(group, problem=InputError(cause, damaged[0][1].hint))
    verdict, reason, record_reason, spacing = _verdict(group, options)
    pixels = images[0].pixels
    return FoundSeries(
        id=group.id,
        number=group.number,
        modality=images[0].modality,
        slices=len(images),
        size=(pixels.columns, pixels.rows, len(images)) if pixels else None,
        spacing_mm=spacing,
        verdict=verdict,
        reason=reason,
        record_reason=(
            "a slice may be missing" if damaged and verdict == "refused" else record_reason
        ),
        folder=Path(os.path.commonpath([str(image.path.parent) for image in images])),
        group=group,
    )


def _verdict(
    group: ImageGroup, options: ReadOptions
) -> tuple[Verdict, str, str, tuple[float, float, float] | None]:
    """Return the verdict, its reason with and without a hint, and the spacing if it is ok."""
    if group.skip:
        return "skipped", group.skip, group.skip, None
    try:
        spacing = check_group(group, options).grid.spacing_mm
    except InputError as error:
        return "refused", str(error), error.cause, None
    if not group.short:
        return "ok", "", "", spacing
    count = len(group.images)
    few = f"only {count} slice{'s' if count > 1 else ''}, a volume has at least {MIN_SLICES}"
    return "skipped", f"{few}; it is read if its path is given", few, spacing


def _unreadable(folder: Path, files: Sequence[tuple[Path, CtVaeError]]) -> FoundSeries:
    """Return an entry for damaged files, so that they are reported."""
    names = "|".join(sorted(path.name for path, _ in files))
    problem = InputError(_describe(files), files[0][1].hint)
    images = [ImageHeader(p, 0, 1, None, None, "", None, "unknown", "") for p, _ in files]
    return FoundSeries(
        id=f"{_UNREADABLE}{hashlib.sha256(names.encode()).hexdigest()[:8]}",
        number=None,
        modality="unknown",
        slices=len(files),
        size=None,
        spacing_mm=None,
        verdict="refused",
        reason=str(problem),
        record_reason="files that cannot be read",
        folder=folder,
        group=ImageGroup(images, problem=problem),
    )


def _describe(files: Sequence[tuple[Path, CtVaeError]]) -> str:
    path, error = files[0]
    if len(files) == 1:
        return f"the file {path.name} {error.cause}"
    return f"{len(files)} files cannot be read, such as {path.name}, which {error.cause}"
