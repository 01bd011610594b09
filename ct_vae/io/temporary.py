"""A folder for files that are needed while something is read."""

from __future__ import annotations

import tempfile

from ct_vae.errors import OutputError

ROOM_HINT = "set TMPDIR to a folder that exists, can be written to, and has room"


def make_temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is removed when it is left as a context, or cleaned up.

    Raises:
        OutputError: If no temporary folder takes one.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="ct_vae_")
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made: {error.strerror or error}",
            ROOM_HINT,
        ) from error
