"""Patients of the cases, for confidence intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ct_vae.datasets.sources.read_datalist import read_datalist
from ct_vae.datasets.sources.read_table import read_table
from ct_vae.errors import ConfigError, CtVaeError
from ct_vae.io.walk import real_path

Patients = Mapping[Path, str]


def read_patients(path: Path) -> Patients:
    """Read the patient of each volume path from a datalist or CSV file.

    Args:
        path: CSV file with the columns ``image`` and ``patient``, or JSON datalist.

    Raises:
        ConfigError: If the list is invalid or contains no patients.
    """

    def refuse(error: CtVaeError) -> None:
        raise ConfigError(f"{path}: {error.cause}", error.hint) from error

    read = read_datalist if path.suffix.lower() == ".json" else read_table
    listed = read(path, refuse)
    patients = {real_path(entry.path): entry.patient for entry in listed if entry.patient}
    if not patients:
        raise ConfigError(f"{path}: contains no patients", "give it a column 'patient'")
    return patients


def unit_of(path: Path, case: str, patients: Patients) -> str:
    """Return the patient of a case, or the name of the case if the patient is unknown."""
    return patients.get(real_path(path), case)
