"""Whose volume it is, as far as names tell.

A list may say so, a pattern may find it in the path, or BIDS names it (``sub-...``). Where none
does and a split has to be made, the path stands for the patient: below a folder that is searched
as `ct_vae.io.search.patients` takes it, and in a list up to the end of its first number, so that
``imagesTr/lung_001.nii.gz`` is ``imagesTr/lung_001``, and ``P01/scan2.nii.gz`` is ``P01``. That
may put several patients together, and none apart as long as paths begin with the patient.
"""

from __future__ import annotations

import hashlib
import re

# BIDS writes this entity in folders and in file names.
_BIDS_SUBJECT = re.compile(r"(?:^|[/_])(sub-[0-9A-Za-z]+)(?=[/_.]|$)")
_TO_FIRST_NUMBER = re.compile(r"\D*\d+|.+", re.DOTALL)


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
