"""Reading of a single CT series from a folder, file or archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ct_vae.errors import CtVaeError, InputError, NoInputError
from ct_vae.io.archive import extracted, is_archive
from ct_vae.io.dicom.grouping.attribute_values import ATTRIBUTE_NAMES
from ct_vae.io.dicom.scan import MARK, FoundSeries, named_series, scan_files, split_series_path
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.reading import reading
from ct_vae.io.walk import walk_files
from ct_vae.volume import Volume

DECODED = "left out: it has been decoded from a latent"
_SHOWN = 10


def read_dicom(path: str | Path, options: ReadOptions | None = None) -> Volume:
    """Read the only readable CT series of a folder, archive or multi-frame file.

    Args:
        path: Folder, archive or file; ``PATH/#id`` selects one of several series.
        options: Options of reading.

    Raises:
        NoInputError: If the path does not exist or has no CT series.
        InputError: If all series are refused, or several can be read.
    """
    options = options or ReadOptions()
    place, wanted = split_series_path(Path(path))
    with reading(path):
        if place.is_file() and is_archive(place):
            with extracted(place) as folder:
                return _read_only(scan_files(walk_files(folder), options), options, wanted)
        files = walk_files(place) if place.is_dir() else [place]
        return _read_only(scan_files(files, options), options, wanted)


def _read_only(found: Sequence[FoundSeries], options: ReadOptions, wanted: str) -> Volume:
    if wanted:
        return named_series(found, wanted).read_in_place(options)
    fit = [each for each in found if each.verdict == "ok"]
    # Decoded series are often in the folder of the series that was encoded.
    fit = [each for each in fit if not each.derived] or fit
    if len(fit) > 1:
        raise InputError(
            f"has {len(fit)} CT series instead of one: {_listed(fit)}",
            f"select one by its id, such as FOLDER/{MARK}{fit[0].id}",
        )
    refused = [each for each in found if each.verdict == "refused"]
    short = [each for each in found if each.short]
    if not fit and not refused and len(short) == 1:
        fit = short
    if fit:
        for each in refused:
            if _may_be_part_of(each, fit[0]):
                each.read_in_place(options)
        others = [f"{each.label} was {_fate(each)}" for each in found if each is not fit[0]]
        volume = fit[0].read_in_place(options)
        return replace(volume, warnings=(*volume.warnings, *others))
    raise _nothing_fit(found, refused, options)


def _may_be_part_of(part: FoundSeries, volume: FoundSeries) -> bool:
    """Return whether a refused group of the same series may be missing from a volume."""
    a, b = part.group, volume.group
    first, other = a.images[0], b.images[0]
    same = (first.series, first.attributes.patient, first.attributes.name) == (
        other.series,
        other.attributes.patient,
        other.attributes.name,
    )
    return same and not a.redundant and ATTRIBUTE_NAMES["folder"] not in a.separated_by


def _nothing_fit(
    found: Sequence[FoundSeries], refused: Sequence[FoundSeries], options: ReadOptions
) -> CtVaeError:
    """Return the error if no series can be read."""
    if len(refused) == 1:
        refused[0].read_in_place(options)
    if refused:
        reasons = "; ".join(f"{each.label}: {each.reason}" for each in refused[:_SHOWN])
        return InputError(f"has no readable CT series: {reasons}")
    if found:
        reasons = "; ".join(f"{each.label}: {each.reason}" for each in found[:_SHOWN])
        return NoInputError(f"has no CT volume: {reasons}")
    return InputError(
        "is a folder without DICOM images, or an archive without them",
        "give one of its files, a volume or a latent",
    )


def _fate(series: FoundSeries) -> str:
    # Warnings are stored in records, which must not contain names of files.
    return DECODED if series.verdict == "ok" else f"{series.verdict}: {series.record_reason}"


def _listed(series: Sequence[FoundSeries]) -> str:
    more = f" and {len(series) - _SHOWN} more" if len(series) > _SHOWN else ""
    return ", ".join(each.label for each in series[:_SHOWN]) + more
