"""Reader of CT for MONAI pipelines, with the same checks as `ct_vae.io.read_volume`.

Use it as ``LoadImaged("image", reader=CTReader, assume_hu=True)``, or by name in a bundle:
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
from ct_vae.find_volumes.cases import VOLUME_SUFFIXES
from ct_vae.io import ReadOptions, read_volume
from ct_vae.io.archive import ARCHIVE_SUFFIXES
from ct_vae.io.formats import path_kind
from ct_vae.volume import Volume

AnyPath = str | PathLike[str]
# MONAI's marker of arrays without a channel axis.
_NO_CHANNEL = float("nan")


@dataclass(frozen=True)
class NamedVolume:
    """Path of a volume to read."""

    path: Path


class CTReader(ImageReader):  # type: ignore[misc]
    """Read CT volumes in HU: files, folders of a DICOM series, archives, ``FOLDER/#id``.

    If a reader fails, `monai.transforms.LoadImage` tries MONAI's own readers, which accept files
    that this reader rejects. Therefore `read` opens nothing and `get_data` raises all errors, which
    `LoadImage` does not catch. `monai.transforms.Compose` turns them into a ``RuntimeError``.

    Args:
        options: Fields of `ReadOptions`, such as ``hu_offset=-1024`` or ``assume_hu=True``.

    Raises:
        ConfigError: If an option is unknown or its value is out of range.

    Examples:
        >>> from monai.transforms import LoadImaged
        >>> from ct_vae.io import write_volume
        >>> from ct_vae.phantoms.make_phantom import make_phantom
        >>> from ct_vae.preprocess.reader import CTReader
        >>> write_volume(make_phantom("head", seed=0, spacing_mm=8.0), "head.nii.gz")
        >>> load = LoadImaged("image", reader=CTReader, ensure_channel_first=True)
        >>> load({"image": "head.nii.gz"})["image"].shape
        torch.Size([1, 26, 31, 28])
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        # On a TypeError, MONAI would drop all options with only a warning.
        self.options = ReadOptions.named("CTReader", options)

    def verify_suffix(self, filename: Sequence[AnyPath] | AnyPath) -> bool:
        """Return true if all names are those of volumes, folders, archives or DICOM files."""
        return all(_is_wanted(Path(name)) for name in ensure_tuple(filename))

    def read(
        self, data: Sequence[AnyPath] | AnyPath, **kwargs: Any
    ) -> NamedVolume | list[NamedVolume]:
        """Collect the paths of one or several volumes for `get_data`, without opening them.

        Args:
            data: Path, or several paths whose volumes become channels.
            kwargs: Not supported; options belong to the constructor.

        Raises:
            ConfigError: If options or no paths are given.
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
        """Read the volumes collected by `read`.

        Returns:
            Voxels ``(X, Y, Z)`` in HU, in the index order of the source, or ``(N, X, Y, Z)`` for
            several volumes, and the metadata of the first. The key ``warnings`` lists
            irregularities.

        Raises:
            NoInputError: If a file does not exist.
            InputError: If a file is damaged or rejected, or if several volumes have different
                grids.
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
                    f"{each.path}: its grid is not that of {named[0].path}, but channels of one "
                    "image share a grid",
                    "resample it, or load it as a separate image",
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
        # Text, since MONAI collates the metadata of a batch key by key.
        "format": str(volume.source.get("format", "")),
        "warnings": "; ".join(volume.warnings),
    }


def _is_wanted(path: Path) -> bool:
    # The name decides for files that are damaged or missing.
    named = path.name.lower().endswith((*VOLUME_SUFFIXES, *ARCHIVE_SUFFIXES))
    return named or path_kind(path) not in {"unknown", "json", "record"}
