"""The frames of an Enhanced multi-frame CT image, each with its own place and rescale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ct_vae.errors import InputError
from ct_vae.io.dicom.file import AGAIN
from ct_vae.io.dicom.image_header import ImageHeader, with_geometry
from ct_vae.io.dicom.sop_classes import skip_reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LARGEST_FRAMES = 1 << 16
_PHASES = (
    ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
    ("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    (
        "CardiacSynchronizationSequence",
        "NominalPercentageOfCardiacPhase",
        "NominalPercentageOfCardiacPhase",
    ),
)


def frame_headers(dataset: Dataset, common: ImageHeader) -> list[ImageHeader]:
    """One header per frame; what frames share stands in the shared functional groups.

    Args:
        dataset: The header of the file.
        common: What is known of the file as a whole.

    Raises:
        InputError: If there are not as many groups as frames.
    """
    frames: Any = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if not 1 <= common.frames <= _LARGEST_FRAMES or len(frames) != common.frames:
        raise InputError(
            f"declares {common.frames} frames, but has functional groups for {len(frames)}", AGAIN
        )
    shared: Any = dataset.get("SharedFunctionalGroupsSequence") or []
    fallback = shared[0] if len(shared) else None
    return [_frame(common, i, group, fallback) for i, group in enumerate(frames)]


def _frame(common: ImageHeader, index: int, own: Dataset, shared: Dataset | None) -> ImageHeader:
    kinds: Any = _item(own, shared, "CTImageFrameTypeSequence").get("FrameType") or ()
    names = [str(kind).upper() for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    placed = _item(own, shared, "PlanePositionSequence")
    orientation = _item(own, shared, "PlaneOrientationSequence")
    together = type(placed)()
    for source, keyword in (
        (placed, "ImagePositionPatient"),
        (orientation, "ImageOrientationPatient"),
    ):
        if keyword in source:
            setattr(together, keyword, source.get(keyword))
    for group, keyword, name in _PHASES:
        value = _item(own, shared, group).get(keyword)
        if value is not None:
            setattr(together, name, value)
    measures = _item(own, shared, "PixelMeasuresSequence")
    rescale = _item(own, shared, "PixelValueTransformationSequence")
    header = replace(common, skip=skip_reason("", common.modality, names))
    return with_geometry(header, measures, together, rescale, frame=index)


def _item(own: Dataset, shared: Dataset | None, name: str) -> Dataset:
    """The item of a functional group: of the frame, else of all frames, else empty."""
    from pydicom.dataset import Dataset as Empty

    for group in (own, shared):
        sequence: Any = group.get(name) if group is not None else None
        if sequence is not None and len(sequence):
            item: Dataset = sequence[0]
            return item
    return Empty()
