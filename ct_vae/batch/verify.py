"""Whether latents, volumes, DICOM series and model folders are whole, by checksum and record.

A volume is read to its last byte, and a compressed one against its checksum; whether it is CT in HU
is not asked. A latent must agree with its record, a model with its sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ct_vae.errors import CtVaeError, NoInputError
from ct_vae.io import ReadOptions
from ct_vae.io.archive import is_archive
from ct_vae.io.dicom.file import is_dicom
from ct_vae.io.dicom.reader import FoundSeries, scan_files, scan_series, split_series_path
from ct_vae.io.latent.file import verify_latent
from ct_vae.io.latent.layout import MAISI_ENDING
from ct_vae.io.latent.record import SUFFIXES as LATENT_SUFFIXES
from ct_vae.io.latent.record import is_record
from ct_vae.io.mha_nrrd.reader import is_metaimage, is_nrrd, read_itk
from ct_vae.io.nifti.image import load_nifti
from ct_vae.io.reading import check_regular, reading
from ct_vae.io.search.cases import VOLUME_SUFFIXES, is_latent
from ct_vae.io.search.walk import walk_files

Kind = Literal["latent", "volume", "series", "model"]
_MODEL_FILES = ("SHA256SUMS", "model.safetensors", "config.json", "MODEL_CARD.md")
_SIGNS_OF_A_MODEL = _MODEL_FILES[:2]
# What has nothing to do with bytes being whole is allowed.
_LENIENT = ReadOptions(nan="air", assume_ras=True, force=True, assume_hu=True)
_HEAD_BYTES = 512


@dataclass(frozen=True)
class Item:
    """Something to verify: a file, a folder that is a model, or a DICOM series.

    Attributes:
        path: What it is called in the verdict.
        kind: What it is taken for.
        series: The series, of a series.
        problem: Why it could not be looked into.
    """

    path: Path
    kind: Kind
    series: FoundSeries | None = field(default=None, compare=False, repr=False)
    problem: CtVaeError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Verdict:
    """What came of it; ``skipped`` is what makes no volume, such as a localizer."""

    path: str
    kind: Kind
    status: Literal["ok", "failed", "skipped"]
    detail: str = ""
    hint: str = ""
    exit_code: int = 0

    def line(self) -> str:
        """One line for people."""
        if self.status == "ok":
            return f"ok: {self.path}: {self.detail}"
        told = f"{self.detail}; {self.hint}" if self.hint else self.detail
        place = "" if told.startswith(self.path) else f"{self.path}: "
        return f"{self.status}: {place}{told}"

    def facts(self) -> dict[str, Any]:
        """The same for programs."""
        return asdict(self)


def find_items(paths: Sequence[Path]) -> list[Item]:
    """Find what there is to verify in files and, to any depth, in folders.

    A file is taken as named, and archives only so. DICOM files that are named together are taken
    together.
    """
    found: dict[Item, None] = {}
    slices: list[Path] = []
    for path in paths:
        if path.is_file() and is_dicom(_head(path)):
            slices.append(path)
        else:
            found.update(dict.fromkeys(_named(path)))
    return list(found) + _of_series(scan_files(slices, _LENIENT))


def verify_item(item: Item) -> Verdict:
    """Check one item; what is wrong is in the verdict."""
    path = str(item.path)
    if item.series and item.series.verdict == "skipped":
        return Verdict(path, item.kind, "skipped", item.series.reason)
    try:
        if item.problem:
            raise item.problem
        detail = _CHECKS[item.kind](item)
    except CtVaeError as error:
        return Verdict(path, item.kind, "failed", error.cause, error.hint, error.exit_code)
    return Verdict(path, item.kind, "ok", detail)


def _named(path: Path) -> list[Item]:
    try:
        if not path.is_dir():
            return _of_file(path)
        with reading(path):
            inside = list(dict.fromkeys(_in_folder(path)))
            if not inside:
                raise NoInputError("holds no latent, volume, DICOM series or model")
        return inside
    except CtVaeError as error:
        return [Item(path, "volume", problem=error)]


def _in_folder(folder: Path) -> Iterator[Item]:
    others: list[Path] = []
    models: set[Path] = set()
    for path in walk_files(folder):
        name = path.name.lower()
        if path.name in _SIGNS_OF_A_MODEL:
            if path.parent not in models:
                models.add(path.parent)
                yield Item(path.parent, "model")
        elif name.endswith(VOLUME_SUFFIXES):
            yield Item(path, "latent" if is_latent(path) else "volume")
        elif is_record(path):
            # That of a latent which lies there is verified with it, and counted once.
            yield Item(_latent_of(path), "latent")
        elif not name.endswith(".json"):
            others.append(path)
    yield from _of_series(scan_files(others, _LENIENT))


def _of_file(path: Path) -> list[Item]:
    place, wanted = split_series_path(path)
    if wanted:
        return [each for each in _of_series(scan_series(place, _LENIENT)) if each.path == path]
    with reading(path):
        check_regular(path)
        archive = is_archive(path)
    if archive:
        return _of_series(scan_series(path, _LENIENT))
    if path.name.lower().endswith(f"{MAISI_ENDING}.json"):
        return [Item(path.with_name(path.name[: -len(".json")]), "latent")]
    if is_record(path):
        return [Item(_latent_of(path), "latent")]
    if path.name in _MODEL_FILES:
        return [Item(path.parent, "model")]
    return [Item(path, "latent" if is_latent(path) else "volume")]


def _of_series(found: Iterable[FoundSeries]) -> list[Item]:
    return [Item(each.path, "series", each) for each in found]


def _latent_of(record: Path) -> Path:
    """The latent file of a record, be it there or not."""
    stem = record.name[: -len(".json")]
    named = [record.with_name(stem + suffix) for suffix in LATENT_SUFFIXES]
    return next((path for path in named if path.is_file()), named[0])


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _verify_latent(item: Item) -> str:
    record = verify_latent(item.path).record
    return f"latent of kind {record.kind} in layout {record.layout}"


def _verify_volume(item: Item) -> str:
    head = _head(item.path)
    shape: tuple[int, ...]
    if is_metaimage(head) or is_nrrd(head):
        shape = read_itk(item.path, _LENIENT).grid.shape
    else:
        with reading(item.path):
            shape = load_nifti(item.path).header.shape
    return f"volume of {' x '.join(map(str, shape))} voxels"


def _verify_series(item: Item) -> str:
    assert item.series
    shape = item.series.read(_LENIENT).grid.shape
    return f"DICOM series of {' x '.join(map(str, shape))} voxels"


def _verify_model(item: Item) -> str:
    from ct_vae.models.model_folder import load_model_folder

    return f"model of type {load_model_folder(item.path).config.model.latent_type}"


_CHECKS = {
    "latent": _verify_latent,
    "volume": _verify_volume,
    "series": _verify_series,
    "model": _verify_model,
}
