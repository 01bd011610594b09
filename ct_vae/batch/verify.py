"""Verification of latents, volumes, DICOM series and model folders by checksums and records.

Volumes are read completely, with their checksums if they are compressed, but need not be CT in HU.
Latents must agree with their records, and models with their checksums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ct_vae.errors import CtVaeError, InputError, NoInputError, printable
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES
from ct_vae.find_volumes.left_out import left_out_file
from ct_vae.io import ReadOptions
from ct_vae.io.dicom.scan import FoundSeries, scan_files, scan_series, split_series_path
from ct_vae.io.formats import path_kind
from ct_vae.io.latent.read_latent import verify_latent
from ct_vae.io.latent.record import CODED_SUFFIX, is_coded_name, latent_of_record
from ct_vae.io.mha_nrrd.reader import read_itk
from ct_vae.io.nifti.image import load_nifti
from ct_vae.io.reading import check_regular, reading
from ct_vae.io.walk import walk_files

Kind = Literal["latent", "volume", "series", "model"]
# Only the integrity of the files is checked.
_LENIENT = ReadOptions(nan="air", assume_ras=True, force=True, assume_hu=True, any_sop_class=True)


@dataclass(frozen=True)
class VerifyItem:
    """An item to verify: a file, a model folder, or a DICOM series.

    Attributes:
        path: Path for the verdict.
        kind: Kind of the item.
        series: The series, if it is one.
        problem: Error if the path cannot be read.
        skip: Reason if the item is not checked.
    """

    path: Path
    kind: Kind
    series: FoundSeries | None = field(default=None, compare=False, repr=False)
    problem: CtVaeError | None = field(default=None, compare=False)
    skip: str = ""


@dataclass(frozen=True)
class Verdict:
    """Result of a verification; items that are not volumes, such as localizers, are ``skipped``."""

    path: str
    kind: Kind
    status: Literal["ok", "failed", "skipped"]
    detail: str = ""
    hint: str = ""
    exit_code: int = 0

    def line(self) -> str:
        """Return the verdict as one line."""
        if self.status == "ok":
            return f"ok: {self.path}: {self.detail}"
        reason = f"{self.detail}; {self.hint}" if self.hint else self.detail
        place = "" if reason.startswith(printable(self.path)) else f"{self.path}: "
        return f"{self.status}: {place}{reason}"

    def facts(self) -> dict[str, Any]:
        """Return the verdict as a dictionary."""
        return asdict(self)


def find_items(paths: Sequence[Path]) -> list[VerifyItem]:
    """Find the items to verify in files and, to any depth, in folders.

    Archives are searched only if they are given. All given DICOM files are searched together.
    """
    found: dict[VerifyItem, None] = {}
    slices: list[Path] = []
    for path in paths:
        if path_kind(path) == "dicom":
            slices.append(path)
        else:
            found.update(dict.fromkeys(_named(path)))
    return list(found) + _of_series(scan_files(slices, _LENIENT))


def verify_item(item: VerifyItem) -> Verdict:
    """Check one item; errors are returned in the verdict."""
    path = str(item.path)
    if item.skip or (item.series and item.series.verdict == "skipped"):
        reason = item.skip or (item.series.reason if item.series else "")
        return Verdict(path, item.kind, "skipped", reason)
    try:
        if item.problem:
            raise item.problem
        detail = _CHECKS[item.kind](item)
    except CtVaeError as error:
        return Verdict(path, item.kind, "failed", error.cause, error.hint, error.exit_code)
    return Verdict(path, item.kind, "ok", detail)


def _named(path: Path) -> list[VerifyItem]:
    try:
        if not path.is_dir():
            return _of_file(path)
        with reading(path):
            inside = list(dict.fromkeys(_in_folder(path)))
            if not inside:
                raise NoInputError("has no latent, volume, DICOM series or model")
        return inside
    except CtVaeError as error:
        return [VerifyItem(path, "volume", problem=error)]


def _in_folder(folder: Path) -> Iterator[VerifyItem]:
    others: list[Path] = []
    barred: dict[Path, str] = {}
    for path in walk_files(folder, barred):
        kind = path_kind(path)
        if kind == "model":
            yield VerifyItem(path.parent, "model")
        elif kind == "record":
            # A latent and its record are one item.
            yield VerifyItem(latent_of_record(path), "latent")
        elif path.name.lower().endswith((*VOLUME_SUFFIXES, CODED_SUFFIX)) and kind != "dicom":
            yield from _of_file(path)
        elif kind != "json":
            others.append(path)
    for place, reason in barred.items():
        yield VerifyItem(place, "volume", problem=InputError(f"{place} {reason}"))
    series = scan_files(others, _LENIENT)
    yield from _of_series(series)
    used = {file for each in series for file in each.files}
    for each in (left_out_file(path) for path in others if path not in used):
        if each.kind == "unread":
            yield VerifyItem(each.path, "volume", skip=each.reason)


def _of_file(path: Path) -> list[VerifyItem]:
    place, wanted = split_series_path(path)
    if wanted:
        return [each for each in _of_series(scan_series(place, _LENIENT)) if each.path == path]
    with reading(path):
        check_regular(path)
    match "latent" if is_coded_name(path) else path_kind(path):
        case "archive":
            return _of_series(scan_series(path, _LENIENT))
        case "record":
            return [VerifyItem(latent_of_record(path), "latent")]
        case "latent":
            return [VerifyItem(path, "latent")]
        case "model":
            return [VerifyItem(path.parent, "model")]
    return [VerifyItem(path, "volume")]


def _of_series(found: Iterable[FoundSeries]) -> list[VerifyItem]:
    return [VerifyItem(each.path, "series", each) for each in found]


def _verify_latent(item: VerifyItem) -> str:
    record = verify_latent(item.path).record
    return f"latent of kind {record.kind} in layout {record.layout}"


def _verify_volume(item: VerifyItem) -> str:
    shape: tuple[int, ...]
    if path_kind(item.path) in {"metaimage", "nrrd"}:
        shape = read_itk(item.path, _LENIENT).grid.shape
    else:
        with reading(item.path):
            shape = load_nifti(item.path).header.shape
    return f"volume of {' x '.join(map(str, shape))} voxels"


def _verify_series(item: VerifyItem) -> str:
    assert item.series
    shape = item.series.read(_LENIENT).grid.shape
    return f"DICOM series of {' x '.join(map(str, shape))} voxels"


def _verify_model(item: VerifyItem) -> str:
    from ct_vae.models.model_folder import load_model_folder

    return f"model of type {load_model_folder(item.path).config.model.latent_type}"


_CHECKS = {
    "latent": _verify_latent,
    "volume": _verify_volume,
    "series": _verify_series,
    "model": _verify_model,
}
