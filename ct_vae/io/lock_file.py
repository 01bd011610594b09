"""Locks on files and folders between processes; the system releases them if a process ends."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Literal

Lock = Literal["held", "busy", "missing"]


def open_lock_file(path: Path) -> int:
    """Open a lock file for reading and writing, create it if missing, and return its descriptor.

    The name of the file is predictable, so links and devices are not followed: otherwise another
    user could have a file overwritten.

    Raises:
        OSError: If the file cannot be opened, or is not a regular file with a single name.
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

    Args:
        descriptor: The open file or folder.
        wait: Wait until another process releases its lock.
        byte: Lock only this byte of the file, which need not exist. Such a lock belongs to the
            process, and closing any descriptor of the file releases it.

    Returns:
        ``held``; ``busy`` if another process has the lock; ``missing`` if the file system does not
        support locks.
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
