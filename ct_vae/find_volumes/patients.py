"""Assignment of volumes to patients, identified by digests that do not reveal names.

A DICOM series belongs to its PatientID, or else to its study. A file belongs to the topmost folder
below the searched path, or, if it is directly in that path, to its name up to the end of the first
number: ``case_001`` for ``case_001_0000.nii.gz``. This may merge several patients, but never
splits one if names begin with the patient.

In lists of cases, the patient may be given explicitly, by a regular expression for the path, or by
BIDS (``sub-...``). Otherwise the path up to the end of its first number identifies the patient:
``imagesTr/lung_001`` for ``imagesTr/lung_001.nii.gz``, and ``P01`` for ``P01/scan2.nii.gz``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePath

from ct_vae.io.dicom.scan import FoundSeries

RULE = (
    "patients: of DICOM by PatientID, or else by study; of other files by the top folder below "
    "PATH, or else by the file name up to its first number; --patient REGEX takes them from the "
    "path"
)
_NAME = re.compile(r"\D*\d+|[^.]+")
# The BIDS entity of the subject, in names of folders and files.
_BIDS_SUBJECT = re.compile(r"(?:^|[/_])(sub-[0-9A-Za-z]+)(?=[/_.]|$)")
_TO_FIRST_NUMBER = re.compile(r"\D*\d+|.+", re.DOTALL)


def patient_digest(
    path: PurePath,
    below: PurePath,
    series: FoundSeries | None = None,
    pattern: re.Pattern[str] | None = None,
) -> str:
    """Return a digest of the patient of a volume.

    Args:
        path: Path of the volume as given and found.
        below: Path relative to the searched path.
        series: The DICOM series, if the volume is one.
        pattern: Regular expression for the patient in ``path``: its first group, or the match if
            it has no groups. It takes precedence over headers and names.

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
    """Return the part of a relative path that identifies the patient."""
    if len(below.parts) > 1:
        return below.parts[0]
    match = _NAME.match(below.name)
    return match[0] if match else below.name


def patient_in_path(path: str, pattern: str | None) -> str | None:
    """Return the patient that a path names explicitly, or ``None``.

    Args:
        path: Path with ``/`` between its parts.
        pattern: Regular expression for the patient: its first group, or the match if it has no
            groups; ``None`` for the BIDS entity ``sub-...``.
    """
    found = re.search(_BIDS_SUBJECT if pattern is None else pattern, path)
    if found is None:
        return None
    return found[1 if found.re.groups else 0] or None


def listed_key(path: str) -> str:
    """Return the part of a path in a list that identifies the patient."""
    found = _TO_FIRST_NUMBER.match(path)
    return found[0] if found else path


def digest(patient: str) -> str:
    """Return the SHA-256 of a patient in hexadecimal, by which splits identify patients."""
    return hashlib.sha256(patient.encode("utf-8", "surrogateescape")).hexdigest()


def _from_headers(series: FoundSeries) -> str:
    """Return the PatientID, or else the UID of the study; both must not be shown."""
    marks = series.group.images[0].attributes
    return marks.patient or marks.study
