"""A reader for MONAI pipelines, as strict as `ct_vae.io.read_volume`.

``LoadImaged("image", reader=CTReader, assume_hu=True)``, or by its name from a bundle:
``reader="ct_vae.preprocess.reader.CTReader"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import ImageMetaKey, MetaKeys, SpaceKeys, ensure_tuple
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, InputError
from ct_vae.io import ReadOptions, read_volume
from ct_vae.io.archive import ARCHIVE_SUFFIXES
from ct_vae.io.formats import path_kind
from ct_vae.io.search.cases import VOLUME_SUFFIXES
from ct_vae.volume import Volume

AnyPath = str | PathLike[str]
# What MONAI takes for an array without an axis of channels.
_NO_CHANNEL = float("nan")


@dataclass(frozen=True)
class NamedVolume:
    """A volume that is to be read."""

    path: Path


class CTReader(ImageReader):  # type: ignore[misc]
    """Reads CT volumes in HU: files, folders of a DICOM series, archives, ``FOLDER/#id``.

    When a reader fails, `monai.transforms.LoadImage` goes on to MONAI's own readers, which take
    what is refused here. Therefore nothing is opened by `read`, and what is refused is refused by
    `get_data`, whose errors `LoadImage` lets through as they are; `monai.transforms.Compose` raises
    its own ``RuntimeError`` from them.

    Args:
        options: The fields of `ReadOptions`, such as ``hu_offset=-1024`` or ``assume_hu=True``.

    Raises:
        ConfigError: If there is no such option, or its value is out of range.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        # A TypeError would make MONAI drop all options with no more than a warning.
        self.options = ReadOptions.named("CTReader", options)

    def verify_suffix(self, filename: Sequence[AnyPath] | AnyPath) -> bool:
        """Whether all names are those of volumes, folders, archives or DICOM files."""
        return all(_is_wanted(Path(name)) for name in ensure_tuple(filename))

    def read(
        self, data: Sequence[AnyPath] | AnyPath, **kwargs: Any
    ) -> NamedVolume | list[NamedVolume]:
        """Name one or several volumes for `get_data`; nothing is opened.

        Args:
            data: A path, or several, whose volumes become channels.
            kwargs: None; options belong to the constructor.

        Raises:
            ConfigError: If there are others, or no path.
        """
        if kwargs:
            raise ConfigError(f"read takes no options, got {', '.join(kwargs)}")
        named = [NamedVolume(Path(name)) for name in ensure_tuple(data)]
        if not named:
            raise ConfigError("no path was given")
        return named if len(named) > 1 else named[0]

    def get_data(
        self, img: NamedVolume | Sequence[NamedVolume]
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Read what `read` has named.

        Returns:
            ``(X, Y, Z)`` in HU, in the source's own index order, or ``(N, X, Y, Z)`` of several
            volumes, and the metadata of the first. ``warnings`` among them tells what was odd.

        Raises:
            NoInputError: If a file is not there.
            InputError: If it is damaged or refused, or if several do not lie on one grid.
        """
        named = ensure_tuple(img)
        first = read_volume(named[0].path, self.options)
        if len(named) == 1:
            return first.voxels, _metadata(first, named[0].path, _NO_CHANNEL)
        stack = [first.voxels]
        for each in named[1:]:
            volume = read_volume(each.path, self.options)
            if not volume.grid.distance_mm(first.grid) <= 1e-3:
                raise InputError(
                    f"{each.path}: does not lie on the grid of {named[0].path}, "
                    "and channels of one image do",
                    "resample it, or load it as an image of its own",
                )
            stack.append(volume.voxels)
        return np.stack(stack), _metadata(first, named[0].path, 0)


def _metadata(volume: Volume, path: Path, channel: float) -> dict[str, Any]:
    return {
        MetaKeys.AFFINE.value: volume.grid.affine.copy(),
        MetaKeys.ORIGINAL_AFFINE.value: volume.grid.affine.copy(),
        MetaKeys.SPATIAL_SHAPE.value: np.asarray(volume.grid.shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM.value: channel,
        MetaKeys.SPACE.value: SpaceKeys.RAS.value,
        ImageMetaKey.FILENAME_OR_OBJ: str(path),
        # Text, since MONAI puts the metadata of a batch together key by key.
        "format": str(volume.source.get("format", "")),
        "warnings": "; ".join(volume.warnings),
    }


def _is_wanted(path: Path) -> bool:
    # Of a file that is damaged or missing the name tells what it was meant to be.
    named = path.name.lower().endswith((*VOLUME_SUFFIXES, *ARCHIVE_SUFFIXES))
    return named or path_kind(path) not in {"unknown", "json", "record"}
