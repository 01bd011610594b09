"""What the header of a DICOM image says: how it is stored, where it lies, what it belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN, PixelPlace
from ct_vae.io.dicom.marks import NO_MARKS, Marks, text_of
from ct_vae.io.dicom.pixel_format import PixelFormat

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image: a file of a classic series, or a frame of an Enhanced one.

    Attributes:
        path: The file.
        frame: Which of its frames, from 0.
        frames: How many it has.
        place: Where the pixels lie, if there are any.
        pixels: How they are stored.
        series: Series instance UID, for grouping only; empty if it is absent.
        number: Series number, if it is a number.
        modality: Such as ``CT``.
        skip: Why this is no slice of a CT volume; empty if it may be one.
        foreign: Whether it is one but for its SOP class, which is the reason in ``skip``.
        marks: What may tell it from other images of its series, for grouping only.
        uid: SOP instance UID, for grouping only.
        instance: Instance number, if there is one.
        position: LPS+ position of the first pixel's centre in mm.
        orientation: Directions along a row and along a column.
        spacing: Distance between rows and between columns in mm.
        thickness: Of the slice in mm, if it is declared.
        slope: From stored numbers to HU.
        inter: Added after that.
        unit: Declared unit of the rescaled numbers, in capitals; empty if none is.
        derived: Whether a model of this package has decoded it.
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
    foreign: bool = False
    marks: Marks = NO_MARKS
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
    """Complete a header by what three data sets say, which are one in a classic image.

    Args:
        header: What is common to all frames.
        measures: Holds the pixel spacing.
        placed: Holds position and orientation.
        rescale: Holds slope and intercept.
        frame: Which frame this is.
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
    """Finite numbers of an element, or ``None`` if it is absent or empty.

    Raises:
        InputError: If there are more or fewer, or one is not finite.
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
    """A length that only helps, so that a bad one counts as none."""
    try:
        value = float(text_of(dataset, keyword))
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def _number(dataset: Dataset, keyword: str) -> float | None:
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None
