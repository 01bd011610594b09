"""Header of a DICOM image: pixel format, position and series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN, PixelPlace
from ct_vae.io.dicom.grouping_attributes import NO_ATTRIBUTES, GroupingAttributes, text_of
from ct_vae.io.dicom.pixel_format import PixelFormat

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image: a single-frame file, or a frame of an Enhanced CT image.

    Attributes:
        path: Path of the file.
        frame: Index of the frame in the file.
        frames: Number of frames in the file.
        place: Location of the pixel data, or ``None`` if there are none.
        pixels: Pixel format.
        series: SeriesInstanceUID, used for grouping only; empty if absent.
        number: Series number, or ``None`` if absent or not a number.
        modality: Modality, such as ``CT``.
        skip: Reason if the image is not a CT slice; empty otherwise.
        other_sop_class: True if ``skip`` states only that the SOP class is another one.
        attributes: Attributes that may separate the image from others of its series.
        uid: SOPInstanceUID, used for grouping only.
        instance: Instance number, or ``None``.
        position: LPS+ position of the center of the first pixel in mm.
        orientation: Direction cosines of rows and columns.
        spacing: Distances between rows and between columns in mm.
        thickness: Slice thickness in mm, or ``None``.
        slope: Rescale slope from stored values to HU.
        inter: Rescale intercept in HU.
        unit: Rescale type in upper case; empty if absent.
        derived: True if the image was decoded by a model of this package.
    """

    path: Path
    frame: int
    frames: int
    place: PixelPlace | None
    pixels: PixelFormat | None
    series: str
    number: int | None
    modality: str
    skip: str
    other_sop_class: bool = False
    attributes: GroupingAttributes = NO_ATTRIBUTES
    uid: str = ""
    instance: int | None = None
    position: Numbers | None = None
    orientation: Numbers | None = None
    spacing: Numbers | None = None
    thickness: float | None = None
    slope: float | None = None
    inter: float | None = None
    unit: str = ""
    derived: bool = False


def with_geometry(
    header: ImageHeader, measures: Dataset, placed: Dataset, rescale: Dataset, *, frame: int = 0
) -> ImageHeader:
    """Add geometry and rescale to a header.

    The three data sets are the same in a single-frame image.

    Args:
        header: Header values common to all frames.
        measures: Data set with the pixel spacing.
        placed: Data set with position and orientation.
        rescale: Data set with slope and intercept.
        frame: Index of the frame.
    """
    return replace(
        header,
        frame=frame,
        position=numbers(placed, "ImagePositionPatient", 3),
        orientation=numbers(placed, "ImageOrientationPatient", 6),
        spacing=numbers(measures, "PixelSpacing", 2),
        thickness=_positive(measures, "SliceThickness"),
        slope=_number(rescale, "RescaleSlope"),
        inter=_number(rescale, "RescaleIntercept"),
        unit=str(rescale.get("RescaleType") or "").strip().upper(),
    )


def numbers(dataset: Dataset, keyword: str, count: int) -> Numbers | None:
    """Return the finite numbers of an element, or ``None`` if it is absent or empty.

    Raises:
        InputError: If the number of values is not ``count``, or a value is not finite.
    """
    value: Any = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, Sequence) and not len(value)):
        return None
    items = [value] if isinstance(value, (str, int, float)) else list(value)
    found = tuple(float(item) for item in items)
    if len(found) != count or not all(map(math.isfinite, found)):
        raise InputError(f"{keyword} is not {count} finite numbers", AGAIN)
    return found


def _positive(dataset: Dataset, keyword: str) -> float | None:
    """Return an optional positive length; invalid values count as absent."""
    try:
        value = float(text_of(dataset, keyword))
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def _number(dataset: Dataset, keyword: str) -> float | None:
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None
