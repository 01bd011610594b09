"""Headers of the images of a DICOM file, with values checked by type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ct_vae.errors import CtVaeError, InputError
from ct_vae.io.dicom.enhanced import frame_headers
from ct_vae.io.dicom.file import AGAIN, PixelPlace, read_header
from ct_vae.io.dicom.image_header import PHASE_TAGS, ImageHeader, PixelFormat, with_geometry
from ct_vae.io.dicom.sop_classes import (
    CT_CLASSES,
    DIRECTORY_CLASS,
    ENHANCED_CLASSES,
    is_known,
    skip_reason,
)
from ct_vae.volume import DERIVED_MARK

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_OVERLAYS = range(0x6000, 0x6020, 2)
_TAGS: list[str | int] = [
    *("SOPClassUID", "Modality", "ImageType", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SeriesNumber", "FrameOfReferenceUID", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("LossyImageCompression", "DerivationDescription", "ModalityLUTSequence", *PHASE_TAGS),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    # OverlayBitPosition: above 0 for an overlay that lies in the high bits of the pixels.
    *((group << 16) | 0x0102 for group in _OVERLAYS),
]


def read_images(path: Path) -> list[ImageHeader]:
    """Read the headers of all images of a file; nothing if it is no DICOM image or report.

    Raises:
        InputError: If it is, or is named like, a DICOM file that is damaged.
        OSError: If it cannot be read.
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
            return [first]
        if sop_class in ENHANCED_CLASSES:
            return frame_headers(dataset, first)
        if first.frames != 1:
            raise InputError(f"has {first.frames} frames, but is no Enhanced CT image")
        return [with_geometry(first, dataset, dataset, dataset)]
    except (CtVaeError, OSError):
        raise
    # pydicom parses values when they are asked for, and answers bad ones with any exception.
    except Exception as error:
        raise InputError(f"has a damaged header ({type(error).__name__})", AGAIN) from error


def _first_look(
    path: Path, dataset: Dataset, sop_class: str, place: PixelPlace | None
) -> ImageHeader:
    modality = str(dataset.get("Modality") or "").strip().upper()
    # It is shown, and a damaged or private one may hold anything.
    if modality and not re.fullmatch("[A-Z]{2,10}", modality):
        modality = "unknown"
    if not modality and sop_class in CT_CLASSES:
        modality = "CT"
    if not modality and not is_known(sop_class):
        raise InputError("is a DICOM file without SOP class and modality", AGAIN)
    kinds = dataset.get("ImageType") or ()
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    skip = skip_reason(sop_class, modality, [str(kind).upper() for kind in kinds])
    series = str(dataset.get("SeriesInstanceUID") or "").strip()
    if not skip and not series:
        raise InputError("is a CT image that belongs to no series (no SeriesInstanceUID)", AGAIN)
    number = dataset.get("SeriesNumber")
    return ImageHeader(
        path=path,
        frame=0,
        frames=1 if skip else int(dataset.get("NumberOfFrames") or 1),
        place=place,
        pixels=None if skip else _pixel_format(dataset),
        series=series,
        number=None if number in (None, "") else int(str(number)),
        modality=modality or "unknown",
        skip=skip,
        frame_of_reference=(
            str(dataset.get("StudyInstanceUID") or ""),
            str(dataset.get("FrameOfReferenceUID") or ""),
        ),
        derived=DERIVED_MARK in str(dataset.get("DerivationDescription") or ""),
    )


def _pixel_format(dataset: Dataset) -> PixelFormat:
    names = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
    declared = {name: dataset.get(name) for name in names}
    missing = [name for name, value in declared.items() if value in (None, "")]
    rows, columns, allocated, stored, sign = (int(value or 0) for value in declared.values())
    high = dataset.get("HighBit")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    fault = ""
    if missing:
        fault = f"lack {', '.join(missing)}"
    elif min(rows, columns) < 1:
        fault = f"have {rows} rows and {columns} columns"
    elif samples != 1:
        fault = f"have {samples} numbers per pixel, as colour pictures do"
    elif allocated not in (8, 16, 32) or not 1 <= stored <= allocated or sign not in (0, 1):
        fault = f"store pixels in {stored} of {allocated} bits with sign {sign}"
    elif high not in (None, "") and int(high) != stored - 1:
        fault = f"have their highest bit at {int(high)} for {stored} bits"
    elif "ModalityLUTSequence" in dataset:
        fault = "map their numbers to HU by a table, which is not supported"
    overlays = [dataset.get((group, 0x0102)) for group in _OVERLAYS]
    return PixelFormat(
        rows=rows,
        columns=columns,
        allocated=allocated,
        stored=stored,
        signed=None if sign not in (0, 1) else bool(sign),
        padding=None if fault else _padding(dataset, allocated, bool(sign)),
        overlay=any(element is not None and int(element.value or 0) for element in overlays),
        lossy=str(dataset.get("LossyImageCompression") or "").strip() == "01",
        fault=fault,
    )


def _padding(dataset: Dataset, bits: int, signed: bool) -> tuple[int, int] | None:
    """Range of padding, as the stored numbers are; writers mix up the sign of the tag itself."""
    ends = []
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value: Any = dataset.get(keyword)
        if value is None or value in ("", b""):
            continue
        word = int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
        word %= 1 << bits
        ends.append(word - (1 << bits) if signed and word >> (bits - 1) else word)
    # A limit without the value has no meaning.
    if not ends or dataset.get("PixelPaddingValue") in (None, "", b""):
        return None
    return min(ends), max(ends)
