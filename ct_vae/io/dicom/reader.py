"""CT series in DICOM files: what is there, and one of them as a volume.

A series among others is named by its folder or archive and its id: ``FOLDER/#s003_ab12cd34``.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.io.archive import extracted, is_archive
from ct_vae.io.dicom.file import quiet
from ct_vae.io.dicom.grouping import Group, group_images
from ct_vae.io.dicom.headers import read_images
from ct_vae.io.dicom.image_header import ImageHeader
from ct_vae.io.dicom.pixels import MAX_THREADS
from ct_vae.io.dicom.volume import check_group, read_group
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import reading
from ct_vae.io.search.walk import walk_files
from ct_vae.volume import Volume

DECODED = "left out: it has been decoded from a latent"
_MARK = "#"
_SHOWN = 10
_BATCH = 1024


@dataclass(frozen=True, eq=False)
class FoundSeries:
    """A series, or one phase of it, with what is to be expected of it.

    Attributes:
        id: Its number and a hash that is the same wherever it lies, such as ``s003_ab12cd34``.
        number: Series number, if it has one.
        modality: Such as ``CT``.
        slices: Number of images.
        size: Columns, rows and slices; ``None`` if they are not known.
        spacing_mm: Along these axes.
        verdict: ``"ok"``, ``"refused"`` for a CT series that would be read wrongly, or
            ``"skipped"`` for what is no CT volume.
        reason: Why it is not ok.
        folder: The folder that holds all of its files, or the archive.
        group: The headers of its images.
    """

    id: str
    number: int | None
    modality: str
    slices: int
    size: tuple[int, int, int] | None
    spacing_mm: tuple[float, float, float] | None
    verdict: Literal["ok", "refused", "skipped"]
    reason: str
    folder: Path
    group: Group = field(repr=False)
    _archive: Path | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        """A name for `read_volume` that means this series."""
        return self.folder / f"{_MARK}{self.id}"

    @property
    def derived(self) -> bool:
        """Whether a model of this package has decoded it."""
        return any(image.derived for image in self.group.images)

    @property
    def label(self) -> str:
        """One line about it, without anything identifying."""
        name = "a series" if self.number is None else f"series {self.number}"
        images = f"{self.slices} image{'s' if self.slices != 1 else ''}"
        return f"{name} ({self.id}, {self.modality}, {images})"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it is made of; none of an archive, which is unpacked only to be read."""
        return () if self._archive else tuple({image.path: None for image in self.group.images})

    def read(self, options: ReadOptions | None = None) -> Volume:
        """Read it, judged anew by these options.

        Raises:
            InputError: If it is refused or damaged.
            NoInputError: If it is no CT volume.
        """
        if self._archive:
            return read_dicom(self.path, options)
        with reading(self.path):
            return self._read(options or ReadOptions())

    def _read(self, options: ReadOptions) -> Volume:
        if self.group.skip:
            raise NoInputError(f"is no CT volume: {self.group.skip}")
        return read_group(self.group, options)


def scan_series(
    paths: str | Path | Iterable[str | Path], options: ReadOptions | None = None
) -> list[FoundSeries]:
    """Find all series in folders (to any depth), files and archives.

    Files given together are taken together: one series may be a list of files. What is not DICOM
    is passed over. Files named like DICOM, or cut, that cannot be read are refused as a series of
    their own, and so is every CT series with files in the same folder, since it may lack a slice.

    Args:
        paths: One or several of them.
        options: By which to judge.

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


def read_dicom(path: str | Path, options: ReadOptions | None = None) -> Volume:
    """Read the one CT series of a folder, archive or multi-frame file that is fit to be read.

    Args:
        path: Where it is; ``PATH/#id`` takes one of several.
        options: Consents and corrections.

    Raises:
        NoInputError: If there is nothing, or no CT series.
        InputError: If all are refused, or several would do.
    """
    options = options or ReadOptions()
    place, wanted = split_series_path(Path(path))
    with reading(path):
        if place.is_file() and is_archive(place):
            with extracted(place) as folder:
                return _read_only(scan_files(walk_files(folder), options), options, wanted)
        files = walk_files(place) if place.is_dir() else [place]
        return _read_only(scan_files(files, options), options, wanted)


def split_series_path(path: Path) -> tuple[Path, str]:
    """The folder or archive, and the id of one series in it (or ``""``)."""
    if path.name.startswith(_MARK) and not os.path.lexists(path) and path.parent.exists():
        return path.parent, path.name[len(_MARK) :]
    return path, ""


def scan_files(files: Iterable[Path], options: ReadOptions | None = None) -> list[FoundSeries]:
    """Find the series of some files, as `scan_series` does, none of which is an archive."""
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
    return found + [_unreadable(folder, each) for folder, each in broken.items()]


def _read_headers(path: Path) -> list[ImageHeader] | CtVaeError:
    try:
        return read_images(path) if path.is_file() else []
    except CtVaeError as error:
        return error
    except (OSError, MemoryError) as error:
        return InputError(f"cannot be read: {getattr(error, 'strerror', None) or 'no memory'}")


def _judge(
    group: Group, broken: dict[Path, list[tuple[Path, CtVaeError]]], options: ReadOptions
) -> FoundSeries:
    images = group.images
    beside = [each for p in {i.path.parent for i in images} for each in broken.get(p, [])]
    if beside and not group.skip and not group.problem:
        cause = f"a slice may be missing: beside its slices, {_tell(beside)}"
        group = replace(group, problem=InputError(cause, beside[0][1].hint))
    pixels = images[0].pixels
    size = (pixels.columns, pixels.rows, len(images)) if pixels else None
    spacing = None
    verdict: Literal["ok", "refused", "skipped"] = "skipped" if group.skip else "ok"
    reason = group.skip
    if not reason:
        try:
            spacing = check_group(group, options).grid.spacing_mm
        except InputError as error:
            verdict, reason = "refused", str(error)
    return FoundSeries(
        id=group.id,
        number=images[0].number,
        modality=images[0].modality,
        slices=len(images),
        size=size,
        spacing_mm=spacing,
        verdict=verdict,
        reason=reason,
        folder=Path(os.path.commonpath([str(image.path.parent) for image in images])),
        group=group,
    )


def _unreadable(folder: Path, files: Sequence[tuple[Path, CtVaeError]]) -> FoundSeries:
    """What stands for damaged files, so that they are not passed over in silence."""
    names = "|".join(sorted(path.name for path, _ in files))
    problem = InputError(_tell(files), files[0][1].hint)
    image = ImageHeader(folder, 0, 1, None, None, "", None, "unknown", "")
    return FoundSeries(
        id=f"unreadable_{hashlib.sha256(names.encode()).hexdigest()[:8]}",
        number=None,
        modality="unknown",
        slices=len(files),
        size=None,
        spacing_mm=None,
        verdict="refused",
        reason=str(problem),
        folder=folder,
        group=Group(names, [image], problem=problem),
    )


def _tell(files: Sequence[tuple[Path, CtVaeError]]) -> str:
    path, error = files[0]
    if len(files) == 1:
        return f"the file {path.name} {error.cause}"
    return f"{len(files)} files cannot be read, such as {path.name}, which {error.cause}"


def _read_only(found: Sequence[FoundSeries], options: ReadOptions, wanted: str) -> Volume:
    if wanted:
        chosen = [each for each in found if each.id == wanted]
        if not chosen:
            ids = ", ".join(each.id for each in found[:_SHOWN]) or "none"
            raise NoInputError(f"there is no such series; there are: {ids}")
        return chosen[0]._read(options)
    fit = [each for each in found if each.verdict == "ok"]
    # What has been decoded often lies beside what was encoded.
    fit = [each for each in fit if not each.derived] or fit
    if len(fit) == 1:
        for each in found:
            # A part of the same series that cannot be read may belong to this volume.
            if (
                each.verdict == "refused"
                and each.group.images[0].series == fit[0].group.images[0].series
            ):
                each._read(options)
        others = [f"{each.label} was {_fate(each)}" for each in found if each is not fit[0]]
        volume = fit[0]._read(options)
        return replace(volume, warnings=(*volume.warnings, *others))
    if fit:
        raise InputError(
            f"holds {len(fit)} CT series, one is wanted: {_listed(fit)}",
            f"name one by its id, such as FOLDER/{_MARK}{fit[0].id}",
        )
    refused = [each for each in found if each.verdict == "refused"]
    if len(refused) == 1:
        refused[0]._read(options)
    if refused:
        reasons = "; ".join(f"{each.label}: {each.reason}" for each in refused[:_SHOWN])
        raise InputError(f"holds no CT series that can be read: {reasons}")
    if found:
        reasons = "; ".join(f"{each.label}: {each.reason}" for each in found[:_SHOWN])
        hint = "give the folder of its whole series" if len(found) == found[0].slices == 1 else ""
        raise NoInputError(f"holds no CT volume: {reasons}", hint)
    raise InputError("is a folder without DICOM images, or an archive without them")


def _fate(series: FoundSeries) -> str:
    # Why it is refused may name a file, and warnings get into the records of latents.
    told = {"refused": "refused", "skipped": f"skipped: {series.reason}", "ok": DECODED}
    return told[series.verdict]


def _listed(series: Sequence[FoundSeries]) -> str:
    more = f" and {len(series) - _SHOWN} more" if len(series) > _SHOWN else ""
    return ", ".join(each.label for each in series[:_SHOWN]) + more
