"""Latents in NIfTI files, 4-D with channels last unless told, or 3-D codes, and their records."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ct_vae.errors import ConfigError, CtVaeError, InputError
from ct_vae.grid import Grid
from ct_vae.io.atomic.file import sha256_file, write_together
from ct_vae.io.latent.int16 import check_finite, dequantise, quantise
from ct_vae.io.latent.layout import (
    MAISI_ENDING,
    VECTOR_INTENT,
    check_layout,
    check_sidecar,
    file_shape,
    from_file_axes,
    sidecar_bytes,
    sidecar_path,
)
from ct_vae.io.latent.record import (
    load_record,
    record_bytes,
    record_extension,
    record_in_extensions,
    record_path,
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
from ct_vae.latent import Latent, LatentRecord, Layout, QuantizationRecord

LatentDtype = Literal["int16", "float32"]

_INTENT_LABEL = 1002
_ENCODE_AGAIN = "one of the two was edited, or a write was cut off: encode the source again"


def write_latent(
    latent: Latent,
    path: str | Path,
    dtype: LatentDtype | None = None,
    layout: Layout = "plain",
) -> Latent:
    """Write a latent and its record, both atomically and the record last.

    Args:
        latent: What to write.
        path: Ends with ``.nii.gz`` or ``.nii``, or with ``_emb.nii.gz`` in layout ``maisi``; the
            record gets the same stem and ``.json``.
        dtype: ``"int16"`` with slope and intercept, or ``"float32"`` bit for bit; ``None`` takes
            int16 for layout ``plain`` and float32 otherwise. Codes are stored as uint16, or int32
            if one is above 65 535, whatever is asked for.
        layout: How the file is laid out (see `ct_vae.io.latent.layout`).

    Returns:
        The latent as `read_latent` will give it.

    Raises:
        ConfigError: If path, dtype or layout is none of those, or the layout does not hold such
            a latent.
        InputError: If values are not finite, or codes negative or above int32.
        OutputError: If the files cannot be written in full.
    """
    dtype = dtype or default_dtype(layout)
    if dtype not in ("int16", "float32"):
        raise ConfigError(f"latents are stored as int16 or float32, not {dtype!r}")
    steps = latent.record.preprocess
    check_layout(layout, dtype, latent.record.kind == "codes", steps.axcodes)
    if layout == "maisi" and not Path(path).name.endswith(MAISI_ENDING):
        raise ConfigError(f"{path}: a latent of layout maisi is named *{MAISI_ENDING}")
    beside = record_path(path)
    stored, values, how = _store(latent, dtype)
    record = latent.record.model_copy(update={"quantisation": how, "layout": layout})
    content = _nifti_bytes(stored, how, record, latent.grid, path)
    digest = hashlib.sha256(content).hexdigest()
    record = record.model_copy(update={"file_sha256": digest})
    further = [(sidecar_path(path), sidecar_bytes(record))] if layout == "maisi" else []
    write_together([(Path(path), content), *further, (beside, record_bytes(record))])
    return Latent(values, record.latent_grid(), record)


def default_dtype(layout: Layout) -> LatentDtype:
    """How values are stored where nothing else is asked for."""
    return "int16" if layout == "plain" else "float32"


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
        file = load_nifti(Path(path))
        if file.note:
            raise InputError(f"is damaged: {file.note}", "encode its source again")
        if record is None:
            record = _copied_record(file)
        else:
            _check_copy(file.extensions, record)
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
        _check_copy(load_extensions(Path(path)), record)
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


def _store(
    latent: Latent, dtype: LatentDtype
) -> tuple[NDArray[Any], NDArray[Any], QuantizationRecord]:
    """The array to store, the array that a reader gets, and how they differ."""
    if latent.record.kind == "codes":
        codes = _smallest_codes(latent.array)
        name: Literal["uint16", "int32"] = "uint16" if codes.dtype == np.uint16 else "int32"
        return codes, codes, QuantizationRecord(dtype=name)
    array = latent.array.astype(np.float32, copy=False)
    if dtype == "float32":
        check_finite(array)
        return array, array, QuantizationRecord(dtype="float32")
    quantised = quantise(array)
    values = quantised.values()
    error = values.astype(np.float64) - array
    how = QuantizationRecord(
        dtype="int16",
        slope=quantised.slope,
        inter=quantised.inter,
        max_abs_error=float(np.abs(error).max()),
        rmse=float(np.sqrt(np.mean(error**2))),
    )
    return quantised.stored, values, how


def _smallest_codes(codes: NDArray[Any]) -> NDArray[Any]:
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise InputError(f"codes run from {low} to {high}; they must be 0 to 2147483647")
    return codes.astype(np.uint16 if high <= np.iinfo(np.uint16).max else np.int32)


def _nifti_bytes(
    stored: NDArray[Any],
    how: QuantizationRecord,
    record: LatentRecord,
    grid: Grid,
    path: str | Path,
) -> bytes:
    channels = stored if stored.ndim == 4 else stored[np.newaxis]
    little = stored.dtype.newbyteorder("<")
    header = new_header(grid, file_shape(stored, record.layout), little)
    header.set_slope_inter(how.slope, how.inter)
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


def _check_copy(extensions: bytes, record: LatentRecord) -> None:
    """The header's copy is under the file's checksum and so guards what nothing else does."""
    copy = record_in_extensions(extensions)
    own = record.model_copy(update={"run": None, "file_sha256": None})
    if copy is None or copy != own:
        raise InputError("does not agree with the record beside it", _ENCODE_AGAIN)


def _copied_record(file: NiftiFile) -> LatentRecord:
    record = record_in_extensions(file.extensions)
    if record is None:
        raise InputError(
            "is not a latent of this package: no record beside it and none in its header"
        )
    # A file's name may be a patient's and has no place in a record.
    note = "the record beside the file was missing; the copy in the header was used"
    return record.model_copy(update={"warnings": (*record.warnings, note)})


def _assemble(file: NiftiFile, record: LatentRecord) -> Latent:
    header, stored = file.header, file.stored
    x, y, z = header.shape[:3]
    placed, _, _ = nifti_grid(header.fields, (x, y, z), assume_ras=False)
    how = record.quantisation
    scaling = (header.slope, header.inter)
    if how is None or header.dtype.name != how.dtype or scaling != (how.slope, how.inter):
        raise InputError("is not stored as its record says", _ENCODE_AGAIN)
    array = from_file_axes(stored, record.layout)
    values = array.astype(header.dtype.newbyteorder("="), order="C")
    if how.dtype == "int16":
        values = dequantise(values, *scaling)
    if values.dtype == np.float32 and not np.isfinite(values).all():
        # None was written so.
        raise InputError("holds values that are not finite: it is damaged", _ENCODE_AGAIN)
    # The header's float32 affine is checked against the record, which has it in full.
    checked = Latent(values, placed, record)
    return Latent(checked.array, record.latent_grid(), record)
