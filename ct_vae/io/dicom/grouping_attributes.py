"""Attributes that separate images with the same SeriesInstanceUID into volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class GroupingAttributes(NamedTuple):
    """Values of these attributes as text, empty if absent; used for grouping only.

    Attributes:
        patient: PatientID.
        name: PatientName.
        study: StudyInstanceUID.
        frame_of_reference: FrameOfReferenceUID.
        kernel: ConvolutionKernel.
        stack: StackID.
        acquisition: AcquisitionNumber.
        temporal: TemporalPositionIdentifier or TemporalPositionIndex.
        dimensions: Dimension index values other than those of stack and position.
        cardiac: NominalPercentageOfCardiacPhase.
        trigger_time: TriggerTime or NominalCardiacTriggerDelayTime.
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


NO_ATTRIBUTES = GroupingAttributes()

# DICOM keywords of the attributes in a single-frame image and at the top level of a file.
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
ATTRIBUTE_TAGS = [keyword for keywords in KEYWORDS.values() for keyword in keywords]


def text_of(dataset: Dataset, *keywords: str) -> str:
    """Return the first of some optional elements that has a value, as text.

    Elements that cannot be parsed count as absent.

    Returns:
        The value, with a backslash between multiple values; empty if there is none.
    """
    return next(filter(None, (_text(dataset, keyword) for keyword in keywords)), "")


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value: Any = dataset.get(keyword)
        many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        parts = value if many else [value]
        return "" if value is None else "\\".join(str(part).strip("\0 ") for part in parts)
    # pydicom parses values on access and raises arbitrary exceptions for invalid ones.
    except Exception:
        return ""


def read_attributes(dataset: Dataset) -> GroupingAttributes:
    """Read the attributes at the top level of a file."""
    return GroupingAttributes(
        **{name: text_of(dataset, *keywords) for name, keywords in KEYWORDS.items()}
    )
