"""Lock of a run folder, so that only one run uses it at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.io.atomic.file import writing_failed
from ct_vae.io.folders import make_folders
from ct_vae.io.lock_file import lock, open_lock_file

LOCK = ".lock"
# A fork shares the lock, and worker processes may outlive a killed parent for seconds.
_held: set[int] = set()


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock a run folder within a block; the system releases the lock of a killed process.

    On file systems without locks, this has no effect.

    Raises:
        ConfigError: If another process has locked the folder.
        OutputError: If the folder cannot be written.
    """
    path = folder / LOCK
    try:
        make_folders(folder)
        descriptor = open_lock_file(path)
    except OSError as error:
        writing_failed(path, error)
    try:
        if lock(descriptor) == "busy":
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"{folder}: another process trains there ({owner})",
                "wait for it, or choose another training.output_dir",
            )
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)
