"""Locks between processes, on files and folders, which the system releases with their holder."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Literal

Lock = Literal["held", "busy", "missing"]


def open_lock_file(path: Path) -> int:
    """Open a lock file for reading and writing, made if missing; gives its descriptor.

    Such a file lies beside data under a name that can be guessed. A link or a device that somebody
    has put there is not followed, or what it leads to would be overwritten.

    Raises:
        OSError: If the file cannot be opened, or is no ordinary file with a single name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ELOOP, f"{path.name} is a link or a device", str(path))


def lock(descriptor: int, *, wait: bool = False, byte: int | None = None) -> Lock:
    """Lock an open file or folder exclusively; closing it or the end of the process releases it.

    The lock is on what is open, so that writers lock the very file or folder that they fill, and
    nothing is left behind by one that is killed.

    Args:
        descriptor: The open file or folder.
        wait: Wait for another holder.
        byte: Lock one byte of the file only, which need not exist; such a lock belongs to the
            process, and closing any descriptor of the file releases it.

    Returns:
        ``held``; ``busy`` if another process holds it; ``missing`` where the file system has no
        locks, as some network file systems do not.
    """
    operation = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
        if byte is None:
            fcntl.flock(descriptor, operation)
        else:
            fcntl.lockf(descriptor, operation, 1, byte)
    except (BlockingIOError, PermissionError):
        return "busy"
    except OSError:
        return "missing"
    return "held"
