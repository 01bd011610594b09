"""Masks and label maps from files, and masks into files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ct_vae.errors import ConfigError, CtVaeError, InputError, NoInputError
from ct_vae.evaluation.metrics.masks import Mask
from ct_vae.evaluation.metrics.pair import check_same_grid
from ct_vae.io import ReadOptions, read_volume, write_volume
from ct_vae.io.search.cases import VOLUME_SUFFIXES
from ct_vae.volume import Volume

_MOST_LABELS = 1000
# Names of masks that are found, and of labels without a name.
_TAKEN = ("body", "field_of_view", "all", "in_window")
_UNNAMED_LABEL = re.compile(r"label_-?\d+")


@dataclass(frozen=True)
class GivenMasks:
    """Where masks come from beside those that are found.

    Attributes:
        masks: By name, files on the grid of the one case, or folders with a file of each case's
            name; what is not zero counts.
        labels: The same for a label map, each value of which is a mask.
        names: Of the labels, by value.
    """

    masks: tuple[tuple[str, Path], ...] = ()
    labels: Path | None = None
    names: tuple[tuple[int, str], ...] = ()

    def check(self, cases: int) -> None:
        """Refuse what cannot serve, before any work.

        Raises:
            ConfigError: If there are several cases and a mask is one file, or a name is taken.
            NoInputError: If a path does not exist.
        """
        _check_names([*(name for name, _ in self.masks), *(name for _, name in self.names)])
        for path in (*(path for _, path in self.masks), *filter(None, [self.labels])):
            if not path.exists():
                raise NoInputError(f"{path}: there is no such file or folder")
            if cases > 1 and not path.is_dir():
                raise ConfigError(
                    f"{path}: one mask cannot serve {cases} cases",
                    "give a folder that holds a file of the same name for each case",
                )

    def read(self, reference: Volume, key: str, options: ReadOptions) -> list[Mask]:
        """Masks for a case.

        Args:
            reference: The original, whose grid they lie on.
            key: Of the case, as `ct_vae.io.search.cases.Case` has it.
            options: How files are read.

        Raises:
            NoInputError: If a folder has no file of that name.
            InputError: If a file is damaged or on another grid.
        """
        found = []
        for name, path in self.masks:
            volume = _read(path, key, reference, options)
            found.append(Mask(name, volume.voxels != 0))
        if self.labels is not None:
            found += self._labelled(_read(self.labels, key, reference, options))
        return found

    def _labelled(self, volume: Volume) -> list[Mask]:
        names = dict(self.names)
        values = np.unique(volume.voxels)
        if values.size > _MOST_LABELS or not np.array_equal(values, np.rint(values)):
            raise InputError(
                f"the label map has {values.size} values, not at most {_MOST_LABELS} whole ones",
                "give a segmentation",
            )
        return [
            Mask(names.get(value, f"label_{value}"), volume.voxels == value)
            for value in values.astype(np.int64).tolist()
            if value
        ]


def name_masks(texts: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """Masks by name, from ``path`` or ``name=path``; those without a name are numbered.

    The name of a file may be that of a patient, and so names no row.
    """
    return tuple(_named(place, text) for place, text in enumerate(texts, start=1))


def _named(place: int, text: str) -> tuple[str, Path]:
    name, given, path = text.partition("=")
    if given and name.strip() and not Path(text).exists():
        return name.strip(), Path(path)
    return f"mask_{place}", Path(text)


def _check_names(names: Sequence[str]) -> None:
    """Refuse names under which rows could not be told apart."""
    for place, name in enumerate(names):
        if name in names[:place] or name in _TAKEN or _UNNAMED_LABEL.fullmatch(name):
            raise ConfigError(
                f"two masks would have the name {name}",
                "choose another by --mask name=path, or in --label-names",
            )


def read_label_names(path: Path) -> tuple[tuple[int, str], ...]:
    """Names of labels: JSON ``{"1": "liver"}`` or ``{"liver": 1}``, or rows ``1,liver`` of a CSV.

    Raises:
        ConfigError: If the file holds nothing of that kind.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            pairs = list(json.loads(text).items())
        else:
            rows = [row for row in csv.reader(text.splitlines()) if len(row) >= 2]
            # A header has no number.
            pairs = [(row[0], row[1]) for row in rows if re.search(r"\d", "".join(row[:2]))]
        return tuple(_label(str(a).strip(), str(b).strip()) for a, b in pairs)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    except (ValueError, AttributeError, csv.Error) as error:
        raise ConfigError(
            f"{path}: holds no names of labels",
            'give JSON such as {"1": "liver"}, or lines such as 1,liver',
        ) from error


def write_masks(masks: Sequence[Mask], reference: Volume, folder: Path, case: str) -> None:
    """Write each mask as a NIfTI file of zeros and ones, ``CASE_MASK.nii.gz``.

    Raises:
        OutputError: If a file cannot be written.
    """
    for mask in masks:
        name = re.sub(r"[^\w.-]+", "_", mask.name)
        volume = Volume(mask.voxels.astype(np.int16), reference.grid)
        write_volume(volume, folder / f"{case}_{name}.nii.gz")


def _label(a: str, b: str) -> tuple[int, str]:
    return (int(a), b) if re.fullmatch(r"-?\d+", a) else (int(b), a)


def _read(path: Path, key: str, reference: Volume, options: ReadOptions) -> Volume:
    file = path
    if path.is_dir():
        files = [path / f"{key}{suffix}" for suffix in VOLUME_SUFFIXES]
        file = next((f for f in files if f.is_file()), files[0])
        if not file.is_file():
            raise NoInputError(f"{path}: no mask named {key} with {', '.join(VOLUME_SUFFIXES)}")
    # The numbers are no HU.
    plain = replace(options, force=True, hu_offset=0.0)
    volume = read_volume(file, plain)
    try:
        check_same_grid(reference, volume)
    except CtVaeError as error:
        raise InputError(f"{file}: {error.cause}", "give a mask on the original's grid") from error
    return volume
