"""Headers of the images of a DICOM file, with values checked by type."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io.dicom.dataset import AGAIN, PixelPlace
from ct_vae.io.dicom.enhanced import frame_headers
from ct_vae.io.dicom.file import read_header
from ct_vae.io.dicom.grouping_attributes import ATTRIBUTE_TAGS, read_attributes, text_of
from ct_vae.io.dicom.image_header import ImageHeader, with_geometry
from ct_vae.io.dicom.pixel_format import PIXEL_TAGS, read_pixel_format
from ct_vae.io.dicom.sop_classes import (
    CT_CLASSES,
    DIRECTORY_CLASS,
    ENHANCED_CLASSES,
    has_other_sop_class,
    is_known,
    skip_reason,
)
from ct_vae.volume import DERIVED_MARK

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TAGS: list[str | int] = [
    *("SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber"),
    *("InstanceNumber", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "RescaleSlope", "RescaleIntercept", "RescaleType", "DerivationDescription"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("DimensionIndexSequence", *ATTRIBUTE_TAGS, *PIXEL_TAGS),
]


def read_images(path: Path) -> list[ImageHeader]:
    """Read the headers of all images of a file; an empty list if it is not a DICOM object.

    Raises:
        InputError: If the file is a damaged DICOM file, or has the name of one.
        OSError: If the file cannot be read.
    """
    found = read_header(path, _TAGS)
    if found is None:
        return []
    dataset, meta_class, place = found
    try:
        sop_class = str(dataset.get("SOPClassUID", "") or meta_class)
        if sop_class == DIRECTORY_CLASS:
            return []
        first = _first_look(path, dataset, sop_class, place)
        if first.skip:
            return [_foreign(first, dataset) if first.other_sop_class else first]
        return _frames(first, dataset, sop_class)
    except (CtVaeError, OSError):
        raise
    # pydicom parses values on access and raises arbitrary exceptions for invalid ones.
    except Exception as error:
        raise InputError(f"has a damaged header ({type(error).__name__})", AGAIN) from error


def _first_look(
    path: Path, dataset: Dataset, sop_class: str, place: PixelPlace | None
) -> ImageHeader:
    modality = str(dataset.get("Modality") or "").strip().upper()
    # The modality is shown in messages; a damaged or private one may be any text.
    if modality and not re.fullmatch("[A-Z]{2,10}", modality):
        modality = "unknown"
    if not modality and sop_class in CT_CLASSES:
        modality = "CT"
    if not modality and not is_known(sop_class):
        raise InputError("is a DICOM file without SOP class and modality", AGAIN)
    kinds = text_of(dataset, "ImageType").upper().split("\\")
    skip = skip_reason(sop_class, modality, kinds)
    return ImageHeader(
        path=path,
        frame=0,
        frames=1 if skip else int(dataset.get("NumberOfFrames") or 1),
        place=place,
        pixels=None if skip else read_pixel_format(dataset),
        series=text_of(dataset, "SeriesInstanceUID"),
        number=_whole(dataset, "SeriesNumber"),
        modality=modality or "unknown",
        skip=skip,
        other_sop_class=has_other_sop_class(sop_class, modality, kinds),
        attributes=read_attributes(dataset),
        uid=text_of(dataset, "SOPInstanceUID"),
        instance=_whole(dataset, "InstanceNumber"),
        derived=DERIVED_MARK in text_of(dataset, "DerivationDescription"),
    )


def _frames(first: ImageHeader, dataset: Dataset, sop_class: str) -> list[ImageHeader]:
    if sop_class in ENHANCED_CLASSES:
        return frame_headers(dataset, first)
    if first.frames != 1:
        raise InputError(
            f"has {first.frames} frames, but is not an Enhanced CT image, so that their positions "
            "are unknown",
            "export it as single slices or as Enhanced CT",
        )
    image = with_geometry(first, dataset, dataset, dataset)
    if not image.series and None in (image.place, image.position, image.orientation, image.spacing):
        raise InputError("is a CT image without series and position, which may be truncated", AGAIN)
    return [image]


def _foreign(first: ImageHeader, dataset: Dataset) -> ImageHeader:
    """Add geometry and pixel format to an image of another SOP class, if they are valid."""
    try:
        if int(dataset.get("NumberOfFrames") or 1) != 1:
            return first
        whole = replace(first, pixels=read_pixel_format(dataset))
        return with_geometry(whole, dataset, dataset, dataset)
    # The image is skipped for its SOP class in any case.
    except Exception:
        return first


def _whole(dataset: Dataset, keyword: str) -> int | None:
    """Return an optional whole number; invalid values count as absent."""
    text = text_of(dataset, keyword)
    return int(text) if re.fullmatch(r"[+-]?\d{1,12}", text) else None
