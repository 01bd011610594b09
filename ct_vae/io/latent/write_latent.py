"""Writing of latents to NIfTI or coded files with their records."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from ct_vae.grid import Grid
from ct_vae.io.atomic.file import write_together
from ct_vae.io.latent.coded import coded_bytes
from ct_vae.io.latent.layout import (
    VECTOR_INTENT,
    check_layout,
    check_name,
    sidecar_bytes,
    sidecar_path,
    to_file_axes,
)
from ct_vae.io.latent.record import is_coded_name, record_bytes, record_extension, record_path
from ct_vae.io.latent.storage import (
    LatentDtype,
    Stored,
    check_dtype,
    default_dtype,
    split_posterior,
    store,
)
from ct_vae.io.nifti.image import compressed, new_header, write_parts
from ct_vae.latent import RECORD_VERSION, Latent, LatentRecord, Layout

_INTENT_LABEL = 1002


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


def note_source(path: str | Path, record: LatentRecord, source_files: str) -> None:
    """Store the stamp of the source files in the record of a latent.

    Raises:
        OutputError: If the record cannot be written.
    """
    if record.run is not None:
        run = record.run.model_copy(update={"source_files": source_files})
        noted = record.model_copy(update={"run": run})
        write_together([(record_path(path), record_bytes(noted))])


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
