"""Writing of a decoded volume as a CT series derived from the encoded series."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.errors import ConfigError, InputError
from ct_vae.io.atomic.folder import atomic_folder
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.derived.elements import Derivation, series_elements, slice_elements
from ct_vae.io.dicom.derived.template import SeriesTemplate
from ct_vae.io.dicom.file import quiet
from ct_vae.io.hounsfield.rescale import int16_slabs
from ct_vae.volume import DERIVED_MARK, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NAME = re.compile(r"\d{4,}\.dcm")
_HEAD_BYTES = 1 << 14


def write_dicom(
    volume: Volume,
    template: SeriesTemplate,
    folder: str | Path,
    derivation: Derivation,
    *,
    keep_identity: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a series of signed 16-bit slices, ``0001.dcm`` and so on, atomically.

    The stored values are HU, rounded as in `write_volume`. Study, frame of reference, positions and
    directions are those of the source, and each slice references its source slice unless the source
    was resampled.

    Args:
        volume: Decoded volume on the grid of the source.
        template: The source.
        folder: Output folder; it gets its name once it is complete.
        derivation: Origin of the voxels.
        keep_identity: Copy patient and study data from the source; otherwise they are empty.
        overwrite: Replace an earlier decoded series.

    Raises:
        InputError: If the grids of volume and source differ, a voxel is not finite or beyond int16,
            or the header of the source is damaged.
        ConfigError: If ``folder`` exists and ``overwrite`` is False, or has other content.
        OutputError: If the series cannot be written in full.
    """
    from pydicom.config import disable_value_validation

    if volume.grid != template.grid:
        raise InputError("the decoded volume does not have the grid of the source")
    check_target(Path(folder), overwrite)
    # The range is checked here, before anything is written.
    slabs = int16_slabs(volume.voxels)
    # UIDs and names of the source are copied even if they violate the standard.
    with quiet(), disable_value_validation():
        common = _series_elements(template, derivation, keep_identity)
        with atomic_folder(folder, overwrite) as stage:
            pairs = zip(_planes(slabs, volume), template.slices, strict=True)
            for number, (plane, source) in enumerate(pairs, 1):
                content = _file_bytes(slice_elements(common, source, number), plane)
                stage.write(f"{number:04d}.dcm", content)


def check_target(folder: Path, overwrite: bool) -> None:
    """Check that a folder is absent, or is a decoded series that may be replaced.

    Raises:
        ConfigError: If the path exists and must not be replaced.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise ConfigError(f"{folder}: exists already", "--overwrite replaces an earlier result")
    if folder.is_symlink() or not folder.is_dir() or not all(map(_is_ours, folder.iterdir())):
        raise ConfigError(
            f"{folder}: is not replaced, since it is not a decoded series",
            "move it or choose another folder for -o",
        )


def _is_ours(path: Path) -> bool:
    if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return DERIVED_MARK.encode() in file.read(_HEAD_BYTES)


def _series_elements(
    template: SeriesTemplate, derivation: Derivation, keep_identity: bool
) -> Dataset:
    try:
        return series_elements(template, derivation, keep_identity)
    # pydicom parses values on access and raises arbitrary exceptions for invalid ones.
    except Exception as error:
        name = type(error).__name__
        raise InputError(f"the source has a damaged header ({name})", AGAIN) from error


def _planes(slabs: Iterator[bytes], volume: Volume) -> Iterator[bytes]:
    """Yield the pixels of each slice, row by row."""
    columns, rows, _ = volume.grid.shape
    size = 2 * columns * rows
    for slab in slabs:
        for start in range(0, len(slab), size):
            yield slab[start : start + size]


def _file_bytes(elements: Dataset, plane: bytes) -> bytes:
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    elements.add_new("PixelData", "OW", plane)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(elements.SOPClassUID)
    meta.MediaStorageSOPInstanceUID = UID(elements.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    elements.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, elements, enforce_file_format=True)
    return buffer.getvalue()
