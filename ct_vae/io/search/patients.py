"""Which volumes are of one patient, told by a digest from which no name comes back to the eye.

A DICOM series belongs to its PatientID, or else to its study. A file belongs to the topmost folder
below the path that was searched, or, if it lies directly there, to its name up to the end of the
first number in it: ``case_001`` for ``case_001_0000.nii.gz``. That may put several patients
together, never one apart as long as names begin with the patient.

In lists of cases a patient may be named, a pattern may find it in the path, or BIDS names it
(``sub-...``). Otherwise the path up to the end of its first number stands for the patient, so that
``imagesTr/lung_001.nii.gz`` is ``imagesTr/lung_001``, and ``P01/scan2.nii.gz`` is ``P01``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

from ct_vae.io.dicom.scan import FoundSeries

RULE = (
    "patients: by PatientID, else by study; of files by the topmost folder below the path given, "
    "else by the name up to its first number (--patient REGEX takes them from the path instead)"
)
_NAME = re.compile(r"\D*\d+|[^.]+")
# BIDS writes this entity in folders and in file names.
_BIDS_SUBJECT = re.compile(r"(?:^|[/_])(sub-[0-9A-Za-z]+)(?=[/_.]|$)")
_TO_FIRST_NUMBER = re.compile(r"\D*\d+|.+", re.DOTALL)


def patient_digest(
    path: PurePath,
    below: PurePath,
    series: FoundSeries | None = None,
    pattern: re.Pattern[str] | None = None,
) -> str:
    """A digest that is the same for volumes of one patient, wherever they lie.

    Args:
        path: Of the volume, as it was given and found.
        below: The same below the path that was searched.
        series: The DICOM series that it is, with its files in place.
        pattern: Takes the patient from ``path`` instead: its first group if it has one, else all
            that it matches.

    Returns:
        SHA-256 in hexadecimal, or ``""`` if the pattern does not match.
    """
    if pattern is None:
        key = _from_headers(series) if series else ""
        key = key or key_of_path(below)
    else:
        match = pattern.search(path.as_posix())
        key = match[1 if pattern.groups else 0] if match else ""
    if not key:
        return ""
    return digest(key)


def key_of_path(below: PurePath) -> str:
    """What stands for the patient in the path of a file below the path that was searched."""
    if len(below.parts) > 1:
        return below.parts[0]
    match = _NAME.match(below.name)
    return match[0] if match else below.name


def patient_in_path(path: str, pattern: str | None) -> str | None:
    """The patient whom a path names, if it names one.

    Args:
        path: With ``/`` between its parts.
        pattern: Finds the patient: its first group if it has one, else all that it matches;
            ``None`` takes the BIDS entity ``sub-...``.
    """
    found = re.search(_BIDS_SUBJECT if pattern is None else pattern, path)
    if found is None:
        return None
    return found[1 if found.re.groups else 0] or None


def listed_key(path: str) -> str:
    """What stands for the patient in a path of a list."""
    found = _TO_FIRST_NUMBER.match(path)
    return found[0] if found else path


def digest(patient: str) -> str:
    """A patient as the split knows them, in hexadecimal."""
    return hashlib.sha256(patient.encode("utf-8", "surrogateescape")).hexdigest()


def _from_headers(series: FoundSeries) -> str:
    """PatientID, or else the UID of the study; never to be shown."""
    marks = series.group.images[0].attributes
    return marks.patient or marks.study
