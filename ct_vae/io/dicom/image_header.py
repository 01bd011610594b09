"""The header of one DICOM image: its series, its place in space and its pixel format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ct_vae.errors import InputError
from ct_vae.io.dicom.file import AGAIN, PixelPlace

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Numbers = tuple[float, ...]

# By these the images of several phases differ although they lie at the same places.
PHASE_TAGS = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "AcquisitionTime",
    "ContentTime",
)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the numbers of one image are stored.

    Attributes:
        rows: Number of rows; 0 where it is not declared, as in all fields below.
        columns: Number of columns.
        allocated: Bits per number.
        stored: Bits of them that are used, the lowest.
        signed: Whether they are in two's complement; ``None`` where that is not declared.
        padding: Lowest and highest stored number that is padding.
        overlay: Whether the bits above hold an overlay.
        lossy: Whether the pixels have been compressed with losses.
        fault: What makes this format unusable, if anything does.
    """

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool | None
    padding: tuple[int, int] | None
    overlay: bool
    lossy: bool
    fault: str

    @property
    def bytes(self) -> int:
        """Bytes of one uncompressed image."""
        return self.rows * self.columns * self.allocated // 8


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image: a file of a classic series, or a frame of an Enhanced one.

    Attributes:
        path: The file.
        frame: Which of its frames, from 0.
        frames: How many it has.
        place: Where the pixels lie, if there are any.
        pixels: How they are stored.
        series: Series instance UID, for grouping only.
        number: Series number.
        modality: Such as ``CT``.
        skip: Why this is no slice of a CT volume; empty if it may be one.
        frame_of_reference: Study and frame-of-reference UID, for grouping only.
        position: LPS+ position of the first pixel's centre in mm.
        orientation: Directions along a row and along a column.
        spacing: Distance between rows and between columns in mm.
        slope: From stored numbers to HU.
        inter: Added after that.
        unit: Declared unit of the rescaled numbers, empty if none is.
        phases: Values of the attributes by which phases may differ.
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
    frame_of_reference: tuple[str, str] = ("", "")
    position: Numbers | None = None
    orientation: Numbers | None = None
    spacing: Numbers | None = None
    slope: float | None = None
    inter: float | None = None
    unit: str = ""
    phases: tuple[str, ...] = ()
    derived: bool = False


def with_geometry(
    header: ImageHeader, measures: Dataset, placed: Dataset, rescale: Dataset, *, frame: int = 0
) -> ImageHeader:
    """Complete a header by what three data sets say, which are one in a classic image.

    Args:
        header: What is common to all frames.
        measures: Holds the pixel spacing.
        placed: Holds position, orientation and phases.
        rescale: Holds slope and intercept.
        frame: Which frame this is.
    """
    return replace(
        header,
        frame=frame,
        position=numbers(placed, "ImagePositionPatient", 3),
        orientation=numbers(placed, "ImageOrientationPatient", 6),
        spacing=numbers(measures, "PixelSpacing", 2),
        slope=_number(rescale, "RescaleSlope"),
        inter=_number(rescale, "RescaleIntercept"),
        unit=str(rescale.get("RescaleType") or "").strip().upper(),
        phases=tuple(str(placed.get(tag, "")) for tag in PHASE_TAGS),
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


def _number(dataset: Dataset, keyword: str) -> float | None:
    found = numbers(dataset, keyword, 1)
    return found[0] if found else None
