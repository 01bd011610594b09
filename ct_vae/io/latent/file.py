"""Latents in NIfTI files, 4-D with channels last unless told, or coded, and their records."""

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
    file_shape,
    from_file_axes,
    sidecar_bytes,
    sidecar_path,
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
        path: Ends with ``.nii.gz`` or ``.nii``, with ``_emb.nii.gz`` in layout ``maisi``, or with
            ``.latz`` for ``coded``. The record of a NIfTI file has the same stem and ``.json``;
            that of ``x.latz`` is ``x.latz.json``.
        dtype: ``"float32"`` bit for bit, ``"int16"`` with slope and intercept, ``"int8"`` with a
            step per channel, or ``"coded"``: range-coded integers with steps that follow the
            posterior. ``None`` takes ``coded`` for ``.latz``, float32 for layouts other than
            ``plain`` and with standard deviations of the posterior, and int16 otherwise. Codes are
            stored as uint16, or int32 if one is above 65 535, whatever is asked for.
        layout: How the file is laid out (see `ct_vae.io.latent.layout`).
        step: For int8 and coded, standard deviation of the rounding error in standard deviations
            of the posterior; defaults to 1. int8 takes larger steps where its range demands them.

    Returns:
        The latent as `read_latent` will give it.

    Raises:
        ConfigError: If path, dtype, step or layout is none of those, or the layout does not hold
            such a latent.
        InputError: If values are not finite, codes negative or above int32, or the posterior is
            not known and int8 or coded needs it.
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
    means, std = split_posterior(stored.values, record)
    return Latent(means, record.latent_grid(), record, std)


def read_latent(path: str | Path) -> Latent:
    """Read a latent with its record; without the JSON file, by the copy in the header.

    Raises:
        NoInputError: If there is no such file.
        ConfigError: If the path has not the suffix of a latent file.
        InputError: If file or record is damaged, of a newer version, or not of the other.
    """
    beside = record_path(path)
    with reading(path):
        record = load_record(beside)
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
    """Whether a complete latent of this very source and model lies at ``path``.

    True only if the record can be read, names both, and gives the file's checksum, and if in layout
    ``maisi`` the JSON beside it agrees.
    """
    record = whole_record(path)
    if record is None:
        return False
    return record.source.sha256 == source_sha256 and record.model.sha256 == model_sha256


def whole_record(path: str | Path) -> LatentRecord | None:
    """The record of a complete latent, found without decoding its values.

    ``None`` unless the record can be read, gives the file's checksum and agrees with the copy in
    the file's header, and, in layout ``maisi``, with the JSON beside it.
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
    """Write the stamp of a source's files into the record of a latent that lies at ``path``.

    Raises:
        OutputError: If the record cannot be written.
    """
    if record.run is not None:
        run = record.run.model_copy(update={"source_files": source_files})
        noted = record.model_copy(update={"run": run})
        write_together([(record_path(path), record_bytes(noted))])


def verify_latent(path: str | Path) -> Latent:
    """Read a latent and check all that lies beside it.

    Raises:
        NoInputError: If there is no such file.
        ConfigError: If the path has not the suffix of a latent file.
        InputError: If file, record or the JSON of layout ``maisi`` is damaged, missing or of
            another latent.
    """
    latent = read_latent(path)
    beside = record_path(path)
    with reading(path):
        if not beside.is_file():
            raise InputError(
                f"its record {beside.name} is missing, and the checksum with it",
                "restore the record or encode the source again",
            )
        if latent.record.layout == "maisi":
            check_sidecar(path, latent.record)
    return latent


def _nifti_bytes(stored: Stored, record: LatentRecord, grid: Grid, path: str | Path) -> bytes:
    numbers = stored.numbers
    channels = numbers if numbers.ndim == 4 else numbers[np.newaxis]
    little = numbers.dtype.newbyteorder("<")
    header = new_header(grid, file_shape(numbers, record.layout), little)
    header.set_slope_inter(stored.how.slope, stored.how.inter)
    if record.kind == "codes":
        header["intent_code"] = _INTENT_LABEL
    elif record.layout == "vector":
        header["intent_code"] = VECTOR_INTENT
    buffer = io.BytesIO()
    with compressed(buffer, path) as out:
        # The first index runs fastest, so one channel after the other puts channels last.
        data = (channel.astype(little).tobytes(order="F") for channel in channels)
        write_parts(out, header, record_extension(record), data)
    return buffer.getvalue()


def _check_digest(path: Path, record: LatentRecord) -> None:
    found = sha256_file(path)
    if record.file_sha256 != found:
        told = (record.file_sha256 or "nothing")[:12]
        raise InputError(
            f"does not belong to its record: checksum {found[:12]}, the record says {told}",
            _ENCODE_AGAIN,
        )


def _copy_in(path: Path) -> LatentRecord | None:
    """Return the short record that a file holds, without decoding its values."""
    if is_coded(path):
        return load_coded(path).record
    return record_in_extensions(load_extensions(path))


def _own_record(copy: LatentRecord | None, beside: LatentRecord | None) -> LatentRecord:
    """Return the record beside a file, or the file's copy if there is none.

    The copy is under the file's checksum and so guards what nothing else does.

    Raises:
        InputError: If there is no copy, or the two disagree.
    """
    if beside is not None:
        if copy != beside.model_copy(update={"run": None, "file_sha256": None}):
            raise InputError("does not agree with the record beside it", _ENCODE_AGAIN)
        return beside
    if copy is None:
        raise InputError(
            "is not a latent of this package: no record beside it and none in its header"
        )
    # A file's name may be a patient's and has no place in a record.
    note = "the record beside the file was missing; the copy in the header was used"
    return copy.model_copy(update={"warnings": (*copy.warnings, note)})


def _read_coded(path: Path, beside: LatentRecord | None) -> Latent:
    file = load_coded(path)
    record = _own_record(file.record, beside)
    return _latent(file.integers(), record, record.latent_grid())


def _assemble(file: NiftiFile, record: LatentRecord) -> Latent:
    header, stored = file.header, file.stored
    x, y, z = header.shape[:3]
    placed, _, _ = nifti_grid(header.fields, (x, y, z), assume_ras=False)
    how = record.quantisation
    scaling = (header.slope, header.inter)
    if how is None or header.dtype.name != how.dtype or scaling != (how.slope, how.inter):
        raise InputError("is not stored as its record says", _ENCODE_AGAIN)
    array = from_file_axes(stored, record.layout)
    numbers = array.astype(header.dtype.newbyteorder("="), order="C")
    # The header's float32 affine is checked against the record, which has it in full.
    return _latent(numbers, record, placed)


def _latent(numbers: NDArray[Any], record: LatentRecord, placed: Grid) -> Latent:
    assert record.quantisation is not None
    values = values_of(numbers, record.quantisation)
    if values.dtype == np.float32 and not np.isfinite(values).all():
        # None was written so.
        raise InputError("holds values that are not finite: it is damaged", _ENCODE_AGAIN)
    means, std = split_posterior(values, record)
    checked = Latent(means, placed, record, std)
    return replace(checked, grid=record.latent_grid())
