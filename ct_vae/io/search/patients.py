"""Which volumes are of one patient, told by a digest from which no name comes back to the eye.

A DICOM series belongs to its PatientID, or else to its study. A file belongs to the topmost folder
below the path that was searched, or, if it lies directly there, to its name up to the end of the
first number in it: ``case_001`` for ``case_001_0000.nii.gz``. That may put several patients
together, never one apart as long as names begin with the patient.
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
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def key_of_path(below: PurePath) -> str:
    """What stands for the patient in the path of a file below the path that was searched."""
    if len(below.parts) > 1:
        return below.parts[0]
    match = _NAME.match(below.name)
    return match[0] if match else below.name


def _from_headers(series: FoundSeries) -> str:
    """PatientID, or else the UID of the study; never to be shown."""
    marks = series.group.images[0].marks
    return marks.patient or marks.study
