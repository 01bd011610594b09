"""Temporary folders."""

from __future__ import annotations

import tempfile

from ct_vae.errors import OutputError

ROOM_HINT = "set TMPDIR to a folder that exists, can be written to, and has room"


def make_temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a temporary folder, which is removed when its context is left.

    Raises:
        OutputError: If it cannot be created.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="ct_vae_")
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made: {error.strerror or error}",
            ROOM_HINT,
        ) from error
