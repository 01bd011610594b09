"""Reading of masks and label maps, and writing of masks."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ct_vae.errors import ConfigError, CtVaeError, InputError, NoInputError
from ct_vae.evaluation.metrics.pair import check_same_grid
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES
from ct_vae.io import ReadOptions, read_volume, write_volume
from ct_vae.masks import Mask
from ct_vae.volume import Volume

_MOST_LABELS = 1000
# Names of computed masks, and of labels without a name.
_TAKEN = ("body", "field_of_view", "all", "in_window")
_UNNAMED_LABEL = re.compile(r"label_-?\d+")


@dataclass(frozen=True)
class GivenMasks:
    """Masks from files, in addition to computed ones.

    Attributes:
        masks: Name and path of each mask: a file, or a folder with one file per case, named like
            the case. Nonzero voxels are inside.
        labels: Label map, file or folder; each value is a mask.
        names: Names of the labels by value.
        reconstruction_labels: Label map of the reconstruction, file or folder, to compare with
            ``labels``.
    """

    masks: tuple[tuple[str, Path], ...] = ()
    labels: Path | None = None
    names: tuple[tuple[int, str], ...] = ()
    reconstruction_labels: Path | None = None

    def check(self, cases: int) -> None:
        """Check the paths and names before any work.

        Raises:
            ConfigError: If a mask file is given for several cases, or a name is used twice.
            NoInputError: If a path does not exist.
        """
        _check_names([*(name for name, _ in self.masks), *(name for _, name in self.names)])
        maps = filter(None, [self.labels, self.reconstruction_labels])
        for path in (*(path for _, path in self.masks), *maps):
            if not path.exists():
                raise NoInputError(f"{path}: there is no such file or folder")
            if cases > 1 and not path.is_dir():
                raise ConfigError(
                    f"{path}: one mask cannot serve {cases} cases",
                    "give a folder that holds a file of the same name for each case",
                )

    def read(self, reference: Volume, key: str, options: ReadOptions) -> list[Mask]:
        """Read the masks of a case.

        Args:
            reference: Original volume, which defines the grid.
            key: Key of the case, see `ct_vae.find_volumes.cases.Case`.
            options: Options for reading files.

        Raises:
            NoInputError: If a folder has no file of that name.
            InputError: If a file is damaged or on another grid.
        """
        found = []
        for name, path in self.masks:
            volume = _read(path, key, reference, options)
            found.append(Mask(name, volume.voxels != 0))
        if self.labels is not None:
            found += self._labeled(_read(self.labels, key, reference, options))
        return found

    def read_label_maps(
        self, reference: Volume, key: str, options: ReadOptions
    ) -> tuple[Volume, Volume] | None:
        """Read the label maps of the original and of the reconstruction, if both are given.

        Arguments and errors are those of `read`.
        """
        if self.labels is None or self.reconstruction_labels is None:
            return None
        first, second = (
            _read(path, key, reference, options)
            for path in (self.labels, self.reconstruction_labels)
        )
        _check_labels(first)
        _check_labels(second)
        return first, second

    def _labeled(self, volume: Volume) -> list[Mask]:
        names = dict(self.names)
        return [
            Mask(names.get(value, f"label_{value}"), volume.voxels == value)
            for value in _check_labels(volume)
            if value
        ]


def _check_labels(volume: Volume) -> list[int]:
    """Return the labels of a label map, and refuse other volumes."""
    values = np.unique(volume.voxels)
    if values.size > _MOST_LABELS or not np.array_equal(values, np.rint(values)):
        raise InputError(
            f"the label map has {values.size} values, not at most {_MOST_LABELS} whole ones",
            "give a segmentation",
        )
    labels: list[int] = values.astype(np.int64).tolist()
    return labels


def name_masks(texts: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """Parse masks given as ``path`` or ``name=path``; masks without a name are numbered.

    File names are not used, because they may contain the name of a patient.
    """
    return tuple(_named(place, text) for place, text in enumerate(texts, start=1))


def _named(place: int, text: str) -> tuple[str, Path]:
    name, given, path = text.partition("=")
    if given and name.strip() and not Path(text).exists():
        return name.strip(), Path(path)
    return f"mask_{place}", Path(text)


def _check_names(names: Sequence[str]) -> None:
    """Check that all names are different."""
    for place, name in enumerate(names):
        if name in names[:place] or name in _TAKEN or _UNNAMED_LABEL.fullmatch(name):
            raise ConfigError(
                f"two masks would have the name {name}",
                "choose another by --mask name=path, or in --label-names",
            )


def read_label_names(path: Path) -> tuple[tuple[int, str], ...]:
    """Read label names: JSON ``{"1": "liver"}`` or ``{"liver": 1}``, or CSV rows ``1,liver``.

    Raises:
        ConfigError: If the file cannot be read or contains no label names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            pairs = list(json.loads(text).items())
        else:
            rows = [row for row in csv.reader(text.splitlines()) if len(row) >= 2]
            # The header contains no number.
            pairs = [(row[0], row[1]) for row in rows if re.search(r"\d", "".join(row[:2]))]
        return tuple(_label(str(a).strip(), str(b).strip()) for a, b in pairs)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    except (ValueError, AttributeError, csv.Error) as error:
        raise ConfigError(
            f"{path}: contains no label names",
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
    # Values of masks are not HU.
    plain = replace(options, force=True, hu_offset=0.0)
    volume = read_volume(file, plain)
    try:
        check_same_grid(reference, volume)
    except CtVaeError as error:
        raise InputError(f"{file}: {error.cause}", "give a mask on the original's grid") from error
    return volume
