"""Attributes by which images that share a series UID may belong to different volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class Marks(NamedTuple):
    """Values of these attributes as text, empty where they are absent; for grouping only.

    Attributes:
        patient: PatientID.
        name: PatientName.
        study: StudyInstanceUID.
        frame_of_reference: FrameOfReferenceUID.
        kernel: ConvolutionKernel.
        stack: StackID.
        acquisition: AcquisitionNumber.
        temporal: TemporalPositionIdentifier or index.
        dimensions: Values of the dimension indices that are neither stack nor place.
        cardiac: NominalPercentageOfCardiacPhase.
        trigger_time: TriggerTime or its nominal delay.
        acquisition_time: AcquisitionTime.
        voltage: KVP.
        image_type: ImageType.
        thickness: SliceThickness.
        content_time: ContentTime.
    """

    patient: str = ""
    name: str = ""
    study: str = ""
    frame_of_reference: str = ""
    kernel: str = ""
    stack: str = ""
    acquisition: str = ""
    temporal: str = ""
    dimensions: str = ""
    cardiac: str = ""
    trigger_time: str = ""
    acquisition_time: str = ""
    voltage: str = ""
    image_type: str = ""
    thickness: str = ""
    content_time: str = ""


NO_MARKS = Marks()

# Where they stand in a classic image, and for a file as a whole.
KEYWORDS = {
    "patient": ("PatientID",),
    "name": ("PatientName",),
    "study": ("StudyInstanceUID",),
    "frame_of_reference": ("FrameOfReferenceUID",),
    "kernel": ("ConvolutionKernel",),
    "stack": ("StackID",),
    "acquisition": ("AcquisitionNumber",),
    "temporal": ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    "cardiac": ("NominalPercentageOfCardiacPhase",),
    "trigger_time": ("TriggerTime", "NominalCardiacTriggerDelayTime"),
    "acquisition_time": ("AcquisitionTime", "AcquisitionDateTime"),
    "voltage": ("KVP",),
    "image_type": ("ImageType",),
    "thickness": ("SliceThickness",),
    "content_time": ("ContentTime",),
}
MARK_TAGS = [keyword for keywords in KEYWORDS.values() for keyword in keywords]


def text_of(dataset: Dataset, *keywords: str) -> str:
    """The first of some elements that has a value, as text.

    They only help, so that one which cannot be parsed counts as absent.

    Returns:
        Several values with a backslash between them; empty if there is none.
    """
    return next(filter(None, (_text(dataset, keyword) for keyword in keywords)), "")


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value: Any = dataset.get(keyword)
        many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        parts = value if many else [value]
        return "" if value is None else "\\".join(str(part).strip("\0 ") for part in parts)
    # pydicom parses values when they are asked for, and answers bad ones with any exception.
    except Exception:
        return ""


def read_marks(dataset: Dataset) -> Marks:
    """The marks of a file from its top level."""
    return Marks(**{name: text_of(dataset, *keywords) for name, keywords in KEYWORDS.items()})
