"""Elements that a derived series copies from its source series."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ct_vae.errors import CtVaeError, InputError
from ct_vae.grid import Grid
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.file import quiet, read_header
from ct_vae.io.dicom.grouping.planes import common_geometry
from ct_vae.io.dicom.image_header import ImageHeader, Numbers, numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Patient, study and dates, by module of PS3.3; copied only on request.
IDENTITY_TAGS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    *("StudyDescription", "AcquisitionDate", "AcquisitionTime"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
_COMMON_TAGS: list[str | int] = [
    *("SpecificCharacterSet", "PatientPosition", "KVP", "AcquisitionNumber", "BurnedInAnnotation"),
    *("WindowCenter", "WindowWidth", "LossyImageCompression", "LossyImageCompressionRatio"),
    "LossyImageCompressionMethod",
    *IDENTITY_TAGS,
]
_SLICE_TAGS: list[str | int] = ["SOPClassUID", "SOPInstanceUID", "SliceThickness"]


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """One slice of the source.

    Attributes:
        position: LPS+ position of the first pixel center in mm.
        thickness: Slice thickness in mm, if known.
        sop_class: SOP class UID; empty, like ``instance``, if the slice cannot be referenced.
        instance: SOP instance UID.
        frame: Frame number in a multi-frame object, from 1.
    """

    position: Numbers
    thickness: float | None = None
    sop_class: str = ""
    instance: str = ""
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class SeriesTemplate:
    """Properties of a source series that a derived series shares.

    Attributes:
        grid: Grid of the volume.
        slices: Slices along the third axis of the grid.
        orientation: LPS+ directions along a row and along a column.
        spacing: Distance between rows and between columns in mm.
        study: Study instance UID; empty if absent.
        frame_of_reference: Frame of reference UID; empty if absent.
        number: Series number, if present.
        resampled: True if the volume was resampled, so that its slices cannot be referenced.
        header: Other elements of the first slice, including patient, study and dates.
    """

    grid: Grid
    slices: tuple[SourceSlice, ...]
    orientation: Numbers
    spacing: Numbers
    study: str
    frame_of_reference: str
    number: int | None
    resampled: bool
    header: Dataset


def read_template(images: list[ImageHeader], grid: Grid, resampled: bool) -> SeriesTemplate:
    """Read the template of a derived series from the headers of its source.

    Args:
        images: Headers in the order of the slices.
        grid: Grid of the volume read from them.
        resampled: True if the volume was resampled to regular slices.

    Raises:
        InputError: If a header is damaged or a file has disappeared.
    """
    first = images[0]
    orientation, spacing = common_geometry(images)
    with quiet():
        header = _elements(first.path, _COMMON_TAGS)
        slices = _slices_of(grid) if resampled else _source_slices(images)
    return SeriesTemplate(
        grid=grid,
        slices=slices,
        orientation=orientation,
        spacing=spacing,
        study=first.attributes.study,
        frame_of_reference=first.attributes.frame_of_reference,
        number=first.number,
        resampled=resampled,
        header=header,
    )


def _source_slices(images: list[ImageHeader]) -> tuple[SourceSlice, ...]:
    seen: dict[Path, tuple[Dataset, float | None]] = {}
    slices = []
    for image in images:
        if image.path not in seen:
            elements = _elements(image.path, _SLICE_TAGS)
            seen[image.path] = elements, first_number(elements, "SliceThickness")
        elements, thickness = seen[image.path]
        assert image.position
        slices.append(
            SourceSlice(
                position=image.position,
                thickness=thickness,
                sop_class=str(elements.get("SOPClassUID") or ""),
                instance=str(elements.get("SOPInstanceUID") or ""),
                frame=image.frame + 1 if image.frames > 1 else None,
            )
        )
    return tuple(slices)


def _slices_of(grid: Grid) -> tuple[SourceSlice, ...]:
    """Return the slices of a resampled grid, which cannot be referenced."""
    _, origin, flat = grid.to_lps()
    step = np.asarray(flat).reshape(3, 3)[:, 2] * grid.spacing_mm[2]
    points = np.asarray(origin) + np.arange(grid.shape[2])[:, None] * step
    return tuple(SourceSlice((x, y, z)) for x, y, z in points.tolist())


def _elements(path: Path, tags: list[str | int]) -> Dataset:
    try:
        found = read_header(path, tags)
    except OSError as error:
        raise InputError(f"a slice cannot be read: {error.strerror}") from error
    if found is None:
        raise InputError("a slice is no longer a DICOM file", AGAIN)
    elements, meta_class, _ = found
    if "SOPClassUID" in tags and not elements.get("SOPClassUID"):
        elements.SOPClassUID = meta_class
    return elements


def first_number(elements: Dataset, keyword: str) -> float | None:
    """Return the first number of an optional element, or ``None`` if it is absent or invalid."""
    try:
        value: Any = elements.get(keyword)
        if value is None or isinstance(value, (str, int, float)):
            found = numbers(elements, keyword, 1)
            return found[0] if found else None
        return float(value[0])
    # pydicom raises arbitrary exceptions for invalid values.
    except (CtVaeError, ValueError, TypeError, IndexError, OverflowError):
        return None
