"""Opening files whose only purpose is to be locked."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


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
