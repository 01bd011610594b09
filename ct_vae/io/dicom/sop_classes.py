"""Classification of DICOM objects into slices of a CT volume and others."""

from __future__ import annotations

from collections.abc import Sequence

ENHANCED_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
}
CT_CLASSES = {"1.2.840.10008.5.1.4.1.1.2", *ENHANCED_CLASSES}
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_OTHER_KINDS = {
    "SR": "a structured report, such as a dose report",
    "SEG": "a segmentation",
    "PR": "a presentation state",
    "KO": "a key object selection",
    "RTSTRUCT": "a set of contours",
}


def is_known(sop_class: str) -> bool:
    """Return True if a SOP class is in the standard; a truncated UID is not."""
    from pydicom.uid import UID

    return UID(sop_class).type == "SOP Class"


def has_other_sop_class(sop_class: str, modality: str, kinds: Sequence[str]) -> bool:
    """Return whether an object is a CT slice except for its SOP class.

    Args:
        sop_class: Its SOP class UID; may be empty.
        modality: Such as ``CT``.
        kinds: The values of its image type, in upper case.
    """
    if sop_class in CT_CLASSES or not sop_class:
        return False
    return not skip_reason("", modality, kinds)


def skip_reason(sop_class: str, modality: str, kinds: Sequence[str]) -> str:
    """Return the reason why an object is not a slice of a CT volume, or ``""``.

    Args:
        sop_class: Its SOP class UID; may be empty.
        modality: Such as ``CT``.
        kinds: The values of its image or frame type, in upper case.
    """
    if modality != "CT":
        return f"modality {modality or 'unknown'}: {_OTHER_KINDS.get(modality, 'not CT')}"
    if sop_class == _SECONDARY_CAPTURE or sop_class.startswith(f"{_SECONDARY_CAPTURE}."):
        return "a secondary capture, not a CT image"
    if sop_class not in CT_CLASSES and sop_class:
        return "not a CT image by its SOP class"
    if "LOCALIZER" in kinds:
        return "a localizer (scout view)"
    if any(kind.startswith(("SCREEN SAVE", "DOSE")) for kind in kinds):
        return "a screen capture or dose report"
    return ""
