"""How much memory reading a case takes, known before it is read."""

from __future__ import annotations

import math

from ct_vae.io.header_grid import header_grid
from ct_vae.io.latent.record import load_record, record_path
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.search.cases import Case

# Measured: 4 for int16 in NIfTI, up to 10 where values come as float32.
_BYTES_PER_VOXEL = 10


def volume_read_bytes(case: Case, options: ReadOptions) -> int | None:
    """Most bytes that reading a volume takes; ``None`` for formats whose header is not looked at.

    Raises:
        NoInputError: If the file is not there.
        InputError: If its header alone is reason to refuse it.
    """
    grid = header_grid(case.path, options, case.series)
    return None if grid is None else _BYTES_PER_VOXEL * math.prod(grid.shape)


def latent_read_bytes(case: Case) -> int | None:
    """Bytes that reading a latent takes, by its record; ``None`` without one.

    Raises:
        InputError: If the record is damaged.
    """
    record = load_record(record_path(case.path))
    if record is None:
        return None
    channels = len(record.statistics.mean) if record.statistics else 1
    # Stored, as float32, and on the way from one to the other.
    return 12 * channels * math.prod(record.latent_grid().shape)
