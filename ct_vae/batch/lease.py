"""Results that one of several processes is at work on: the others leave them alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

from ct_vae.io.atomic.file import temporary_prefix, writing_failed

# A holder that lives touches its leases this often; one on another host that has not for so long
# is taken for dead. Clocks of hosts that share a disk may differ by minutes.
_TOUCHED_S = 30
_DEAD_AFTER_S = 900


class _Owner(NamedTuple):
    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Leases:
    """Leases of this process: files beside results, which tell other processes to keep off.

    A lease is locked, so that the system lets go of it when its holder dies. Some network file
    systems have no locks, or none between hosts: there, a holder on this host is dead when its
    process is, and one on another host when its lease has not been touched for a quarter of an
    hour.
    """

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}
        self._changing = threading.Lock()
        self._closed = threading.Event()
        self._beat = threading.Thread(target=self._touch_all, daemon=True)

    def __enter__(self) -> Leases:
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._beat.join()
        for target in list(self._held):
            self.give_back(target)

    def take(self, target: Path) -> str | None:
        """Take the lease of a result; or say who holds it.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        path = lease_path(target)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                try:
                    owner = _try(descriptor, path)
                except OSError:
                    os.close(descriptor)
                    raise
                if owner is None:
                    break
                os.close(descriptor)
                if owner:
                    return owner
        except OSError as error:
            writing_failed(target, error)
        with self._changing:
            self._held[target] = descriptor
        return None

    def give_back(self, target: Path) -> None:
        """Let others have it; nothing happens where it is not held."""
        with self._changing:
            descriptor = self._held.pop(target, None)
        if descriptor is None:
            return
        # Removed while it is locked: whoever waits for it sees that it is gone.
        with contextlib.suppress(OSError):
            lease_path(target).unlink()
        os.close(descriptor)

    def _touch_all(self) -> None:
        while not self._closed.wait(_TOUCHED_S):
            with self._changing, contextlib.suppress(OSError):
                for descriptor in self._held.values():
                    os.utime(descriptor)


def lease_path(target: Path) -> Path:
    """Where the lease of a result lies."""
    return target.parent / f"{temporary_prefix(target)}lease"


def _try(descriptor: int, path: Path) -> str | None:
    """``None`` if the lease is ours now, who holds it, or nothing if it has just gone away."""
    locks = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(_owner_of(descriptor) or "another process")
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise
        locks = False
    owner = _owner_of(descriptor)
    if owner is not None and _lives(owner, os.fstat(descriptor).st_mtime, locks):
        return str(owner)
    us = _Owner(socket.gethostname(), os.getpid())
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(us._asdict()).encode(), 0)
    except OSError:
        # A lease that does not say whose it is would be left for ever when the disk is full.
        with contextlib.suppress(OSError):
            if _is_at(descriptor, path):
                path.unlink()
        raise
    return None if _is_at(descriptor, path) else ""


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still there under its name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _owner_of(descriptor: int) -> _Owner | None:
    try:
        told = json.loads(os.pread(descriptor, 1000, 0))
        return _Owner(str(told["host"]), int(told["pid"]))
    except (ValueError, KeyError, TypeError):
        return None


def _lives(owner: _Owner, touched: float, locks: bool) -> bool:
    if owner.host != socket.gethostname():
        return time.time() - touched < _DEAD_AFTER_S
    if locks:
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
