"""Estimates of the memory that reading a case takes."""

from __future__ import annotations

import math

from ct_vae.find_volumes.cases import Case
from ct_vae.io import ReadOptions
from ct_vae.io.header_grid import header_grid
from ct_vae.io.latent.record import load_record, record_path
from ct_vae.io.remote import RemoteFile

# Measured: 4 for int16 in NIfTI, up to 10 for float32.
_BYTES_PER_VOXEL = 10
_BYTES_PER_LATENT_VALUE = 12
# An estimate: coded latents have less than a byte per value, compressed volumes more than half of
# one per voxel.
_BYTES_PER_REMOTE_BYTE = 40


def volume_read_bytes(case: Case, options: ReadOptions) -> int | None:
    """Return the peak memory of reading a volume in bytes; ``None`` if it is unknown.

    Raises:
        NoInputError: If the file does not exist.
        InputError: If the header is invalid.
    """
    if case.remote is not None:
        return _unpacked(case.remote)
    grid = header_grid(case.path, options, case.series)
    return None if grid is None else _BYTES_PER_VOXEL * math.prod(grid.shape)


def latent_read_bytes(case: Case) -> int | None:
    """Return the peak memory of reading a latent in bytes; ``None`` if it has no record.

    Raises:
        InputError: If the record is damaged.
    """
    if case.remote is not None:
        return _unpacked(case.remote)
    record = load_record(record_path(case.path))
    if record is None:
        return None
    channels = len(record.statistics.mean) if record.statistics else 1
    channels *= 2 if record.posterior else 1
    # Stored values, float32 values, and temporary arrays, which do not exceed the latent.
    return _BYTES_PER_LATENT_VALUE * channels * math.prod(record.latent_grid().shape)


def _unpacked(file: RemoteFile) -> int | None:
    """Estimate the peak memory of reading a remote file by its size."""
    return None if file.size is None else _BYTES_PER_REMOTE_BYTE * file.size
