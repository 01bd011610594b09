"""Headers of the frames of an Enhanced CT image, each with its own position and rescale."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ct_vae.errors import InputError
from ct_vae.io.dicom.dataset import AGAIN
from ct_vae.io.dicom.grouping_attributes import text_of
from ct_vae.io.dicom.image_header import ImageHeader, with_geometry
from ct_vae.io.dicom.sop_classes import skip_reason

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LARGEST_FRAMES = 1 << 16
# Functional group and keywords of each attribute.
_ATTRIBUTES = {
    "stack": ("FrameContentSequence", ("StackID",)),
    "acquisition": ("FrameContentSequence", ("FrameAcquisitionNumber",)),
    "temporal": ("FrameContentSequence", ("TemporalPositionIndex",)),
    "acquisition_time": (
        "FrameContentSequence",
        ("FrameAcquisitionDateTime", "FrameReferenceDateTime"),
    ),
    "cardiac": ("CardiacSynchronizationSequence", ("NominalPercentageOfCardiacPhase",)),
    "trigger_time": ("CardiacSynchronizationSequence", ("NominalCardiacTriggerDelayTime",)),
    "kernel": ("CTReconstructionSequence", ("ConvolutionKernel",)),
    "voltage": ("CTXRayDetailsSequence", ("KVP",)),
    "image_type": ("CTImageFrameTypeSequence", ("FrameType",)),
    "thickness": ("PixelMeasuresSequence", ("SliceThickness",)),
}
_STACK_ID, _IN_STACK, _POSITION, _ORIENTATION = 0x00209056, 0x00209057, 0x00200032, 0x00200037
# Dimension index pointers that refer to positions.
_POSITIONS = {_IN_STACK, _POSITION, _ORIENTATION, 0x00209113, 0x00209116}


def frame_headers(dataset: Dataset, common: ImageHeader) -> list[ImageHeader]:
    """Return one header per frame from the per-frame and shared functional groups.

    Args:
        dataset: The header of the file.
        common: Header values of the whole file.

    Raises:
        InputError: If the number of functional groups differs from the number of frames.
    """
    frames: Any = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if not 1 <= common.frames <= _LARGEST_FRAMES or len(frames) != common.frames:
        raise InputError(
            f"declares {common.frames} frames, but has functional groups for {len(frames)}", AGAIN
        )
    shared: Any = dataset.get("SharedFunctionalGroupsSequence") or []
    fallback = shared[0] if len(shared) else None
    pointers = _pointers(dataset)
    return [_frame(common, i, (own, fallback), pointers) for i, own in enumerate(frames)]


def _frame(
    common: ImageHeader, index: int, groups: tuple[Dataset, Dataset | None], pointers: list[int]
) -> ImageHeader:
    found = {}
    for name, (group, keywords) in _ATTRIBUTES.items():
        found[name] = text_of(_item(groups, group), *keywords)
    found |= _dimensions(_item(groups, "FrameContentSequence"), pointers, found["stack"])
    kinds = found["image_type"].upper().split("\\")
    placed = _item(groups, "PlanePositionSequence")
    orientation = _item(groups, "PlaneOrientationSequence")
    together = type(placed)()
    for source, keyword in (
        (placed, "ImagePositionPatient"),
        (orientation, "ImageOrientationPatient"),
    ):
        if keyword in source:
            setattr(together, keyword, source.get(keyword))
    header = replace(
        common,
        skip=skip_reason("", common.modality, kinds),
        attributes=common.attributes._replace(
            **{name: value for name, value in found.items() if value}
        ),
        # The instance number is the same for all frames.
        instance=None,
    )
    measures = _item(groups, "PixelMeasuresSequence")
    rescale = _item(groups, "PixelValueTransformationSequence")
    return with_geometry(header, measures, together, rescale, frame=index)


def _pointers(dataset: Dataset) -> list[int]:
    """Return the tags that the dimension index values refer to, in order."""
    found: Any = dataset.get("DimensionIndexSequence") or []
    return [int(item.get("DimensionIndexPointer") or 0) for item in found]


def _dimensions(content: Dataset, pointers: list[int], stack: str) -> dict[str, str]:
    """Return grouping attributes from the dimension indices of a frame."""
    values = text_of(content, "DimensionIndexValues").split("\\")
    if not pointers or len(values) != len(pointers):
        return {}
    pairs = list(zip(pointers, values, strict=True))
    others = [value for tag, value in pairs if tag not in {_STACK_ID, *_POSITIONS}]
    named = dict(pairs).get(_STACK_ID, "")
    return {"stack": stack or named, "dimensions": "\\".join(others)}


def _item(groups: tuple[Dataset, Dataset | None], name: str) -> Dataset:
    """Return the item of a functional group of the frame or of all frames, or an empty one."""
    from pydicom.dataset import Dataset as Empty

    for group in groups:
        sequence: Any = group.get(name) if group is not None else None
        if sequence is not None and len(sequence):
            item: Dataset = sequence[0]
            return item
    return Empty()
