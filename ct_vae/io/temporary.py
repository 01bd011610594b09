"""Temporary folders."""

from __future__ import annotations

import tempfile

from ct_vae.errors import OutputError

ROOM_HINT = "set TMPDIR to an existing, writable folder with free space"


def make_temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a temporary folder, which is removed when its context ends.

    Raises:
        OutputError: If the folder cannot be created.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="ct_vae_")
    except OSError as error:
        raise OutputError(
            f"cannot create a temporary folder: {error.strerror or error}",
            ROOM_HINT,
        ) from error
