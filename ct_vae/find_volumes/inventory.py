"""Inventory of volumes: their properties, and whether they can be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ct_vae.errors import CtVaeError, NoInputError
from ct_vae.find_volumes.items import Item, series_paths
from ct_vae.find_volumes.patients import patient_digest
from ct_vae.io.archive import extracted
from ct_vae.io.dicom.reader import DECODED
from ct_vae.io.dicom.scan import FoundSeries, scan_files
from ct_vae.io.formats import kind_and_origin
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import reading
from ct_vae.io.volumes import read_volume
from ct_vae.io.walk import walk_files
from ct_vae.volume import Volume, volume_sha256

_LOWEST, _HIGHEST = -(1 << 15), (1 << 15) - 1
_SLAB_VOXELS = 1 << 20

PERCENTS = (1, 50, 99)
_KINDS = {
    **dict.fromkeys((".nii", ".nii.gz", ".hdr", ".hdr.gz"), "nifti"),
    **dict.fromkeys((".mha", ".mhd"), "metaimage"),
    **dict.fromkeys((".nrrd", ".nhdr"), "nrrd"),
}

Verdict = Literal["ok", "refused", "skipped"]
Reader = Callable[[ReadOptions], Volume]


@dataclass(frozen=True)
class Row:
    """One series or file of an inventory.

    Attributes:
        path: Path for `read_volume`, as it was given or found.
        kind: ``dicom``, ``nifti``, ``metaimage``, ``nrrd``, ``latent``, ``archive``, ``folder``,
            ``unread`` or ``unknown``.
        verdict: ``ok`` for a readable CT volume; ``refused`` if it is damaged or cannot be read
            correctly; ``skipped`` if it is not a CT volume.
        reason: Reason and hint if the verdict is not ``ok``; one line.
        modality: Modality of a DICOM series.
        size: Voxels along the axes of the source, if known.
        spacing_mm: Spacing along the same axes.
        hu: Percentiles `PERCENTS` of HU inside the field of view; of the unchecked values if the
            volume is refused, and ``None`` if it cannot be read.
        warnings: Warnings of the reader.
        content: SHA-256 of voxels and affine if the verdict is ``ok``.
        patient: Digest of the patient if the verdict is ``ok``, never shown; empty if unknown.
    """

    path: str
    kind: str
    verdict: Verdict
    reason: str = ""
    modality: str | None = None
    size: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    hu: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()
    content: str = field(default="", repr=False)
    patient: str = field(default="", repr=False)


def inspect(
    item: Item, options: ReadOptions, pattern: re.Pattern[str] | None = None
) -> Iterator[Row]:
    """Inspect an item: yield one row, or one for each series of an archive.

    At most one volume is in memory. Errors are reported in the rows.

    Args:
        item: Result of `find_items`.
        options: Options of reading.
        pattern: Regular expression that finds the patient in the path.
    """
    if item.series:
        yield _of_series(item.series, item.path, item, options, pattern)
    elif item.kind == "archive":
        yield from _of_archive(item, options, pattern)
    elif item.kind == "folder":
        yield Row(str(item.path), "folder", "refused", item.problem)
    elif item.kind == "unread":
        yield Row(str(item.path), "unread", "refused", item.problem)
    else:
        yield _of_file(item, options, pattern)


def _of_file(item: Item, options: ReadOptions, pattern: re.Pattern[str] | None) -> Row:
    kind, derived = kind_and_origin(item.path)
    if kind == "latent":
        return Row(str(item.path), "latent", "skipped", "a latent of this package")
    if derived:
        return Row(str(item.path), _kind_by_name(item.path), "skipped", DECODED)
    row = Row(str(item.path), _kind_by_name(item.path), "ok")
    row = _described(row, lambda opts: read_volume(item.path, opts), options, str(item.path))
    return _with_patient(row, item, None, pattern)


def _of_archive(item: Item, options: ReadOptions, pattern: re.Pattern[str] | None) -> Iterator[Row]:
    path = item.path
    row = Row(str(path), "archive", "skipped", "an archive without DICOM images")
    try:
        with reading(path), extracted(path) as folder:
            inside = scan_files(walk_files(folder), options)
            series = [replace(each, folder=path) for each in inside]
            named = [
                (each, name)
                for each, name in zip(series, series_paths(series), strict=True)
                if item.wanted in ("", each.id)
            ]
            for each, name in named:
                yield _of_series(each, name, item, options, pattern)
            if named:
                return
            if item.wanted:
                raise NoInputError(f"there is no series {item.wanted}")
    except CtVaeError as error:
        row = replace(row, verdict="refused", reason=_reason(error, str(path)))
    yield row


def _of_series(
    series: FoundSeries,
    path: Path,
    item: Item,
    options: ReadOptions,
    pattern: re.Pattern[str] | None,
) -> Row:
    row = Row(
        str(path),
        "dicom",
        series.verdict,
        series.reason,
        series.modality,
        series.size,
        series.spacing_mm,
    )
    if series.verdict != "ok":
        return row
    if series.derived:
        return replace(row, verdict="skipped", reason=DECODED)
    row = _described(row, series.read, options, str(series.path))
    return _with_patient(row, item, series, pattern)


def _described(row: Row, read: Reader, options: ReadOptions, name: str) -> Row:
    """Complete a row by reading the volume; ``name`` is its name in errors."""
    volume, reason = _attempt(read, options, name)
    if volume is None:
        # Size and values of a refused volume help to find the cause.
        allowed = replace(options, nan="air", force=True, assume_ras=True, assume_hu=True)
        volume, _ = _attempt(read, allowed, name)
        row = replace(row, verdict="refused", reason=reason)
        return row if volume is None else _measured(row, volume)
    row = _measured(row, volume)
    return replace(row, warnings=volume.warnings, content=volume_sha256(volume))


def _attempt(read: Reader, options: ReadOptions, name: str) -> tuple[Volume | None, str]:
    """Return the volume or the reason, but no exception, which would keep voxels in memory."""
    try:
        return read(options), ""
    except CtVaeError as error:
        return None, _reason(error, name)


def _measured(row: Row, volume: Volume) -> Row:
    return replace(
        row,
        kind=volume.source["format"],
        size=volume.grid.shape,
        spacing_mm=volume.grid.spacing_mm,
        hu=hu_percentiles(volume, PERCENTS),
    )


def _with_patient(
    row: Row, item: Item, series: FoundSeries | None, pattern: re.Pattern[str] | None
) -> Row:
    if row.verdict != "ok":
        return row
    return replace(row, patient=patient_digest(item.path, item.below, series, pattern))


def _kind_by_name(path: Path) -> str:
    endings = [kind for ending, kind in _KINDS.items() if path.name.lower().endswith(ending)]
    return endings[0] if endings else "unknown"


def _reason(error: CtVaeError, name: str) -> str:
    """Return an error as one line without the name of the volume."""
    cause = error.cause.removeprefix(f"{name}: ")
    return f"{cause}; {error.hint}" if error.hint else cause


def hu_percentiles(volume: Volume, percents: Sequence[float]) -> tuple[int, ...] | None:
    """Return percentiles of the voxels inside the field of view, in whole HU.

    Values beyond int16 are clipped to its range.

    Args:
        volume: The volume.
        percents: Percentages from 0 to 100.

    Returns:
        One value per percentage, or ``None`` if no voxel is inside the field of view.
    """
    counts = np.zeros(_HIGHEST - _LOWEST + 1, np.int64)
    plane = max(1, volume.voxels[:, :, 0].size)
    step = max(1, _SLAB_VOXELS // plane)
    for start in range(0, volume.voxels.shape[2], step):
        slab = volume.voxels[:, :, start : start + step]
        if volume.outside_fov is not None:
            slab = slab[~volume.outside_fov[:, :, start : start + step]]
        whole = np.clip(np.rint(slab), _LOWEST, _HIGHEST).astype(np.int64) - _LOWEST
        counts += np.bincount(whole.ravel(order="K"), minlength=len(counts))
    below = np.cumsum(counts)
    if not below[-1]:
        return None
    ranks = np.maximum(1, np.ceil(below[-1] * np.asarray(percents) / 100))
    return tuple((np.searchsorted(below, ranks) + _LOWEST).tolist())
