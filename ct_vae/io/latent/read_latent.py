"""Reading and verification of latents from NIfTI or coded files with their records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import CtVaeError, InputError
from ct_vae.grid import Grid
from ct_vae.io.atomic.file import sha256_file
from ct_vae.io.latent.coded import is_coded, load_coded
from ct_vae.io.latent.layout import check_sidecar, from_file_axes
from ct_vae.io.latent.record import load_record, record_in_extensions, record_path
from ct_vae.io.latent.storage import split_posterior, values_of
from ct_vae.io.nifti.affine import nifti_grid
from ct_vae.io.nifti.image import NiftiFile, load_extensions, load_nifti
from ct_vae.io.reading import reading
from ct_vae.latent import Latent, LatentRecord

_ENCODE_AGAIN = "one of the two was edited, or a write was cut off: encode the source again"


def read_latent(path: str | Path) -> Latent:
    """Read a latent with its record; without the JSON file, use the copy in the file.

    Raises:
        NoInputError: If the file does not exist.
        ConfigError: If the path does not have the suffix of a latent file.
        InputError: If file or record is damaged, of a newer version, or of another latent.
    """
    with reading(path):
        record = load_record(record_path(path))
        if record is not None and Path(path).is_file():
            _check_digest(Path(path), record)
        if Path(path).is_file() and is_coded(path):
            return _read_coded(Path(path), record)
        file = load_nifti(Path(path))
        if file.note:
            raise InputError(f"is damaged: {file.note}", "encode its source again")
        record = _own_record(record_in_extensions(file.extensions), record)
        return _assemble(file, record)


def whole_record(path: str | Path) -> LatentRecord | None:
    """Return the record of a complete latent without decoding its values, or ``None``.

    The record must be readable, match the checksum of the file, and agree with the copy in the file
    and, in layout ``maisi``, with the additional JSON file.
    """
    try:
        record = load_record(record_path(path))
        if record is None or record.file_sha256 != sha256_file(path):
            return None
        _own_record(_copy_in(Path(path)), record)
        if record.layout == "maisi":
            check_sidecar(path, record)
    except CtVaeError:
        return None
    return record


def verify_latent(path: str | Path) -> Latent:
    """Read a latent and check its record and additional files.

    Raises:
        NoInputError: If the file does not exist.
        ConfigError: If the path does not have the suffix of a latent file.
        InputError: If file, record or the JSON of layout ``maisi`` is damaged, missing or of
            another latent.
    """
    latent = read_latent(path)
    record_file = record_path(path)
    with reading(path):
        if not record_file.is_file():
            raise InputError(
                f"its record {record_file.name} is missing, and the checksum with it",
                "restore the record or encode the source again",
            )
        if latent.record.layout == "maisi":
            check_sidecar(path, latent.record)
    return latent


def _check_digest(path: Path, record: LatentRecord) -> None:
    found = sha256_file(path)
    if record.file_sha256 != found:
        expected = (record.file_sha256 or "none")[:12]
        raise InputError(
            f"does not belong to its record: checksum {found[:12]}, the record has {expected}",
            _ENCODE_AGAIN,
        )


def _copy_in(path: Path) -> LatentRecord | None:
    """Return the short record in a file, without decoding its values."""
    if is_coded(path):
        return load_coded(path).record
    return record_in_extensions(load_extensions(path))


def _own_record(copy: LatentRecord | None, record: LatentRecord | None) -> LatentRecord:
    """Return the record of a file, or the copy in the file if there is none.

    The checksum of the file covers the copy, so a comparison detects changes of the record.

    Raises:
        InputError: If there is no copy, or the two disagree.
    """
    if record is not None:
        if copy != record.model_copy(update={"run": None, "file_sha256": None}):
            raise InputError("does not agree with its record", _ENCODE_AGAIN)
        return record
    if copy is None:
        raise InputError(
            "is not a latent of this package: it has no record, neither as a file nor in its header"
        )
    # The name of the file may be that of a patient, and must not be in a record.
    note = "the record file was missing; the copy in the header was used"
    return copy.model_copy(update={"warnings": (*copy.warnings, note)})


def _read_coded(path: Path, record: LatentRecord | None) -> Latent:
    file = load_coded(path)
    own = _own_record(file.record, record)
    return _latent(file.integers(), own, own.latent_grid())


def _assemble(file: NiftiFile, record: LatentRecord) -> Latent:
    header, stored = file.header, file.stored
    x, y, z = header.shape[:3]
    placed, _, _ = nifti_grid(header.fields, (x, y, z), assume_ras=False)
    how = record.quantisation
    scaling = (header.slope, header.inter)
    if how is None or header.dtype.name != how.dtype or scaling != (how.slope, how.inter):
        raise InputError("is not stored as its record says", _ENCODE_AGAIN)
    array = from_file_axes(stored, record.layout, record.posterior)
    numbers = array.astype(header.dtype.newbyteorder("="), order="C")
    # The float32 affine of the header is checked against that of the record, in full precision.
    return _latent(numbers, record, placed)


def _latent(numbers: NDArray[Any], record: LatentRecord, placed: Grid) -> Latent:
    assert record.quantisation is not None
    values = values_of(numbers, record.quantisation)
    if values.dtype == np.float32 and not np.isfinite(values).all():
        # The writer rejects such values.
        raise InputError("has values that are not finite and is damaged", _ENCODE_AGAIN)
    means, std = split_posterior(values, record)
    checked = Latent(means, placed, record, std)
    return replace(checked, grid=record.latent_grid())
