"""Elements of a derived CT series, by module of the CT image object (PS3.3 A.3).

Each element is set by name; no other element of the source is copied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ct_vae.io.dicom.derived.template import (
    IDENTITY_TAGS,
    SeriesTemplate,
    SourceSlice,
    first_number,
)
from ct_vae.latent import Latent
from ct_vae.version import __version__
from ct_vae.volume import DECODING, DERIVED_MARK, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
SERIES_DESCRIPTION = "ct_vae decoded, lossy, not for diagnostic use"
# Limited to 64 characters.
DEIDENTIFIED = "ct_vae; kept: UIDs of study, frame of reference and sources"
_LOSSY = ("113040", "DCM", "Lossy Compression")
_PREDECESSOR = ("121320", "DCM", "Uncompressed predecessor")
_METHODS = {
    *("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15", "ISO_18181_1"),
    *("ISO_13818_2", "ISO_14496_10", "ISO_23008_2"),
}
_POSITIONS = {f"{a}{b}" for a in ("HF", "FF") for b in ("P", "S", "DR", "DL")}
# Soft tissue, where the source suggests no window.
_WINDOW = (40.0, 400.0)
_SERIES_NUMBER_STEP = 1000
_LARGEST_NUMBER = 2**31 - 1


@dataclass(frozen=True)
class Derivation:
    """Origin of the pixels.

    Attributes:
        ratio: Bits of the source's pixels over those of the latent, before any lossless coding.
        method: Name of the compression for Lossy Image Compression Method.
        description: Text for Derivation Description.
    """

    ratio: float
    method: str
    description: str

    @classmethod
    def of(cls, latent: Latent, volume: Volume) -> Derivation:
        """Return the origin of a volume decoded from a latent, with 16 bits per source voxel."""
        precision = volume.source.get(DECODING, {}).get("precision")
        record = latent.record
        how = record.quantisation
        bits = 8 * (4 if how is None or how.dtype in ("float32", "int32") else 2)
        voxels = math.prod(record.source.grid.shape)
        return cls(
            ratio=16 * voxels / (bits * latent.array.size),
            method=f"CT_VAE_{record.model.latent_type.upper()}",
            description=(
                f"{DERIVED_MARK}: encoded and decoded by the model {record.model.name[:64]} "
                f"({record.model.sha256[:12]}) of ct_vae {__version__}"
                f"{f', decoded in {precision}' if precision else ''}"
            ),
        )


def series_elements(
    template: SeriesTemplate, derivation: Derivation, keep_identity: bool
) -> Dataset:
    """Return the elements shared by all slices of a derived series.

    Args:
        template: The source series.
        derivation: Origin of the pixels.
        keep_identity: Copy patient, study and dates from the source; otherwise they are empty or
            absent.
    """
    from pydicom.dataset import Dataset

    elements = Dataset()
    # pydicom decodes text of other character sets.
    elements.SpecificCharacterSet = "ISO_IR 192"
    _patient_and_study(elements, template, keep_identity)
    _series(elements, template)
    _frame_and_equipment(elements, template)
    _image(elements, template)
    _pixels(elements, template)
    _derivation(elements, template, derivation)
    return elements


def slice_elements(common: Dataset, source: SourceSlice, number: int) -> Dataset:
    """Return the elements of one slice without its pixels.

    Args:
        common: Result of `series_elements`.
        source: The corresponding slice of the source.
        number: Instance number, from 1.
    """
    from pydicom.dataset import Dataset
    from pydicom.uid import UID, generate_uid
    from pydicom.valuerep import format_number_as_ds

    elements = Dataset()
    elements.update(common)
    elements.SOPClassUID = UID(CT_IMAGE)
    elements.SOPInstanceUID = generate_uid(prefix=None)
    elements.InstanceNumber = number
    elements.ImagePositionPatient = [format_number_as_ds(value) for value in source.position]
    elements.SliceThickness = _decimal(source.thickness)
    if source.instance and source.sop_class:
        item = Dataset()
        item.ReferencedSOPClassUID = UID(source.sop_class)
        item.ReferencedSOPInstanceUID = UID(source.instance)
        if source.frame is not None:
            item.ReferencedFrameNumber = source.frame
        item.PurposeOfReferenceCodeSequence = [_code(_PREDECESSOR)]
        elements.SourceImageSequence = [item]
    return elements


def _patient_and_study(elements: Dataset, template: SeriesTemplate, keep: bool) -> None:
    from pydicom.uid import UID, generate_uid

    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(elements, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID"):
        setattr(elements, keyword, "")
    elements.AccessionNumber = ""
    elements.StudyInstanceUID = UID(template.study) if template.study else generate_uid(prefix=None)
    burned_in = template.header.get("BurnedInAnnotation")
    if burned_in in ("YES", "NO"):
        elements.BurnedInAnnotation = burned_in
    if keep:
        for keyword in IDENTITY_TAGS:
            if keyword in template.header:
                setattr(elements, keyword, _plain(template.header, keyword))
    elif burned_in == "YES":
        # Text burned into the pixels may still be legible.
        elements.PatientIdentityRemoved = "NO"
    else:
        elements.PatientIdentityRemoved = "YES"
        elements.DeidentificationMethod = DEIDENTIFIED


def _series(elements: Dataset, template: SeriesTemplate) -> None:
    from pydicom.uid import generate_uid

    elements.Modality = "CT"
    elements.SeriesInstanceUID = generate_uid(prefix=None)
    number = template.number
    fits = number is not None and 0 <= number <= _LARGEST_NUMBER - _SERIES_NUMBER_STEP
    elements.SeriesNumber = (number or 0) + _SERIES_NUMBER_STEP if fits else None
    elements.SeriesDescription = SERIES_DESCRIPTION
    position = str(template.header.get("PatientPosition") or "").strip().upper()
    elements.PatientPosition = position if position in _POSITIONS else ""
    # Required where the body part may be one of a pair; empty means unknown.
    elements.Laterality = ""


def _frame_and_equipment(elements: Dataset, template: SeriesTemplate) -> None:
    from pydicom.uid import UID, generate_uid

    frame = template.frame_of_reference
    elements.FrameOfReferenceUID = UID(frame) if frame else generate_uid(prefix=None)
    elements.PositionReferenceIndicator = ""
    # The equipment that made these images, not the scanner, which may identify the hospital.
    elements.Manufacturer = "ct_vae"
    elements.ManufacturerModelName = "ct_vae"
    elements.SoftwareVersions = __version__


def _image(elements: Dataset, template: SeriesTemplate) -> None:
    from pydicom.valuerep import format_number_as_ds

    now = datetime.now()
    for kind in ("InstanceCreation", "Content"):
        setattr(elements, f"{kind}Date", now.strftime("%Y%m%d"))
        setattr(elements, f"{kind}Time", now.strftime("%H%M%S"))
    elements.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    acquisition = first_number(template.header, "AcquisitionNumber")
    whole = acquisition is not None and abs(acquisition) <= _LARGEST_NUMBER
    elements.AcquisitionNumber = int(acquisition or 0) if whole else None
    elements.KVP = _decimal(first_number(template.header, "KVP"))
    elements.ImageOrientationPatient = [format_number_as_ds(v) for v in template.orientation]
    elements.PixelSpacing = [format_number_as_ds(v) for v in template.spacing]
    center = first_number(template.header, "WindowCenter")
    width = first_number(template.header, "WindowWidth")
    if center is None or width is None or width < 1:
        center, width = _WINDOW
    elements.WindowCenter, elements.WindowWidth = _decimal(center), _decimal(width)


def _pixels(elements: Dataset, template: SeriesTemplate) -> None:
    """Describe the pixels as signed HU, since a rescale intercept would narrow the int16 range."""
    elements.SamplesPerPixel = 1
    elements.PhotometricInterpretation = "MONOCHROME2"
    elements.Columns, elements.Rows = template.grid.shape[:2]
    elements.BitsAllocated, elements.BitsStored, elements.HighBit = 16, 16, 15
    elements.PixelRepresentation = 1
    elements.RescaleIntercept, elements.RescaleSlope, elements.RescaleType = "0", "1", "HU"


def _derivation(elements: Dataset, template: SeriesTemplate, derivation: Derivation) -> None:
    text = derivation.description
    if template.resampled:
        text += "; the irregular slices of the source were resampled and are not referenced"
    elements.DerivationDescription = text
    elements.DerivationCodeSequence = [_code(_LOSSY)]
    earlier = _earlier_losses(template.header)
    ratios = [*(ratio for ratio, _ in earlier), derivation.ratio]
    elements.LossyImageCompression = "01"
    elements.LossyImageCompressionRatio = [f"{ratio:.4g}" for ratio in ratios]
    elements.LossyImageCompressionMethod = [*(method for _, method in earlier), derivation.method]


def _earlier_losses(header: Dataset) -> list[tuple[float, str]]:
    """Return ratio and method of earlier lossy compressions, if all methods are known."""
    if str(header.get("LossyImageCompression") or "").strip() != "01":
        return []
    try:
        ratios = [float(value) for value in _listed(header, "LossyImageCompressionRatio")]
    # pydicom raises arbitrary exceptions for invalid values.
    except Exception:
        return []
    methods = [str(value) for value in _listed(header, "LossyImageCompressionMethod")]
    if len(ratios) != len(methods) or not set(methods) <= _METHODS:
        return []
    return list(zip(ratios, methods, strict=True))


def _listed(header: Dataset, keyword: str) -> list[Any]:
    from pydicom.multival import MultiValue

    value: Any = header.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue) else [value]


def _plain(header: Dataset, keyword: str) -> object:
    """Return a decoded value, independent of the character set of the source."""
    if header[keyword].VR == "SQ":
        return header[keyword].value
    return "\\".join(str(value) for value in _listed(header, keyword))


def _decimal(value: float | None) -> str:
    from pydicom.valuerep import format_number_as_ds

    return "" if value is None else format_number_as_ds(value)


def _code(code: tuple[str, str, str]) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
