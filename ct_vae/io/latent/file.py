"""Reading and writing of latents in NIfTI or coded files with their records."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import CtVaeError, InputError
from ct_vae.grid import Grid
from ct_vae.io.atomic.file import sha256_file, write_together
from ct_vae.io.latent.coded import coded_bytes, is_coded, load_coded
from ct_vae.io.latent.layout import (
    VECTOR_INTENT,
    check_layout,
    check_name,
    check_sidecar,
    from_file_axes,
    sidecar_bytes,
    sidecar_path,
    to_file_axes,
)
from ct_vae.io.latent.record import (
    is_coded_name,
    load_record,
    record_bytes,
    record_extension,
    record_in_extensions,
    record_path,
)
from ct_vae.io.latent.storage import (
    LatentDtype,
    Stored,
    check_dtype,
    default_dtype,
    split_posterior,
    store,
    values_of,
)
from ct_vae.io.nifti.affine import nifti_grid
from ct_vae.io.nifti.image import (
    NiftiFile,
    compressed,
    load_extensions,
    load_nifti,
    new_header,
    write_parts,
)
from ct_vae.io.reading import reading
from ct_vae.latent import RECORD_VERSION, Latent, LatentRecord, Layout

_INTENT_LABEL = 1002
_ENCODE_AGAIN = "one of the two was edited, or a write was cut off: encode the source again"


def write_latent(
    latent: Latent,
    path: str | Path,
    dtype: LatentDtype | None = None,
    layout: Layout = "plain",
    step: float | None = None,
) -> Latent:
    """Write a latent and its record, both atomically and the record last.

    Args:
        latent: Latent to write. Standard deviations of the posterior follow the means.
        path: Path that ends with ``.nii.gz`` or ``.nii``, with ``_emb.nii.gz`` in layout ``maisi``,
            or with ``.latz`` for ``coded``. The record of a NIfTI file has the same stem and
            ``.json``; that of ``x.latz`` is ``x.latz.json``.
        dtype: ``"float32"`` bit for bit, ``"int16"`` with slope and intercept, ``"int8"`` with a
            step per channel, or ``"coded"``: range-coded integers with steps that follow the
            posterior. ``None`` uses ``coded`` for ``.latz``, float32 for layouts other than
            ``plain`` and with standard deviations of the posterior, and int16 otherwise. Codes are
            always stored as uint16, or int32 if one is above 65 535.
        layout: Layout of the file (see `ct_vae.io.latent.layout`).
        step: For int8 and coded, standard deviation of the rounding error in standard deviations
            of the posterior; defaults to 1. int8 uses larger steps where its range requires them.

    Returns:
        The latent as returned by `read_latent`.

    Raises:
        ConfigError: If path, dtype, step or layout is invalid, or the layout does not support such
            a latent.
        InputError: If values are not finite, codes are negative or above int32, or int8 or coded
            needs an unknown posterior.
        OutputError: If the files cannot be written in full.
    """
    dtype = dtype or (
        "coded" if is_coded_name(path) else default_dtype(layout, latent.record.posterior)
    )
    check_dtype(dtype, step)
    codes = latent.record.kind == "codes"
    check_layout(layout, dtype, codes, latent.record.preprocess.axcodes, latent.record.posterior)
    check_name(path, dtype, layout, codes)
    stored = store(latent, dtype, step)
    changes = {
        "format_version": RECORD_VERSION,
        "quantisation": stored.how,
        "layout": layout,
    }
    record = latent.record.model_copy(update=changes)
    if dtype == "coded":
        content = coded_bytes(record, stored.numbers)
    else:
        content = _nifti_bytes(stored, record, latent.grid, path)
    record = record.model_copy(update={"file_sha256": hashlib.sha256(content).hexdigest()})
    further = [(sidecar_path(path), sidecar_bytes(record))] if layout == "maisi" else []
    files = [(Path(path), content), *further, (record_path(path), record_bytes(record))]
    write_together(files)
    means, std = split_posterior(stored.values(), record)
    return Latent(means, record.latent_grid(), record, std)


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


def is_done(path: str | Path, source_sha256: str, model_sha256: str) -> bool:
    """Return True if ``path`` is a complete latent of this source and model.

    The record must be readable, match both digests and the checksum of the file, and in layout
    ``maisi`` agree with the additional JSON file.
    """
    record = whole_record(path)
    if record is None:
        return False
    return record.source.sha256 == source_sha256 and record.model.sha256 == model_sha256


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


def note_source(path: str | Path, record: LatentRecord, source_files: str) -> None:
    """Store the stamp of the source files in the record of a latent.

    Raises:
        OutputError: If the record cannot be written.
    """
    if record.run is not None:
        run = record.run.model_copy(update={"source_files": source_files})
        noted = record.model_copy(update={"run": run})
        write_together([(record_path(path), record_bytes(noted))])


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


def _nifti_bytes(stored: Stored, record: LatentRecord, grid: Grid, path: str | Path) -> bytes:
    little = stored.numbers.dtype.newbyteorder("<")
    placed = to_file_axes(stored.numbers, record.layout, record.posterior)
    header = new_header(grid, placed.shape, little)
    header.set_slope_inter(stored.how.slope, stored.how.inter)
    if record.kind == "codes":
        header["intent_code"] = _INTENT_LABEL
    elif record.layout == "vector":
        header["intent_code"] = VECTOR_INTENT
    buffer = io.BytesIO()
    with compressed(buffer, path) as out:
        # The first index runs fastest in the file, the last one here.
        volumes = placed.T
        places = np.ndindex(volumes.shape[:-3])
        data = (volumes[place].astype(little).tobytes() for place in places)
        write_parts(out, header, record_extension(record), data)
    return buffer.getvalue()


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
