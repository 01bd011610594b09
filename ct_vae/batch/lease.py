"""Results that one of several processes is at work on: the others leave them alone."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import NamedTuple

from ct_vae.io.atomic.file import writing_failed
from ct_vae.io.atomic.leftovers import temporary_prefix
from ct_vae.io.folders import make_folders
from ct_vae.io.lock_file import lock, open_lock_file
from ct_vae.io.mounts import mount_of

# A holder that lives touches its leases this often.
_TOUCHED_S = 30
# A holder of whom only this is to be seen is taken for dead when nothing was touched for so long
# while we looked, or since before we came by the clocks of two hosts, which may differ by minutes.
SILENT_S = 3 * _TOUCHED_S
_DEAD_AFTER_S = 900
_LARGEST = 1000


class Holder(NamedTuple):
    """Who is at work on a result.

    Attributes:
        host: Name of the machine.
        pid: Number of the process there; 0 if the lease does not tell.
        since_ns: When the lease was taken, by the clock of the file system; 0 if it does not tell.
        locked: Whether the holder has been seen to hold the lock, and so to live.
    """

    host: str
    pid: int
    since_ns: int = 0
    locked: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another process"

    def has_written(self, target: Path) -> bool:
        """Whether a file or folder has got this name since the lease was taken."""
        try:
            return 0 < self.since_ns <= target.stat().st_mtime_ns
        except OSError:
            return False


class Leases:
    """Leases of this process: files beside results, which tell other processes to keep off.

    A lease is locked, so that the system lets go of it when its holder dies: one that is not locked
    can be taken. Some network file systems have no locks, or none between hosts. There, a holder on
    this host is dead when its process is, and one on another host when it does not touch its lease
    while it is watched.
    """

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}
        # When each lease of another host was first seen as it is.
        self._seen: dict[Path, tuple[int, float]] = {}
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

    def take(self, target: Path) -> Holder | None:
        """Take the lease of a result, unless it is ours already; or say who holds it.

        Raises:
            OutputError: If the folder cannot be written to, or a link or a foreign file has the
                name of the lease.
        """
        if target in self._held:
            return None
        path = lease_path(target)
        try:
            make_folders(path.parent)
            while True:
                descriptor = open_lock_file(path)
                try:
                    holder = self._try(descriptor, path)
                except OSError:
                    os.close(descriptor)
                    raise
                if holder is None and _is_at(descriptor, path):
                    break
                os.close(descriptor)
                if holder is not None:
                    return holder
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

    def _try(self, descriptor: int, path: Path) -> Holder | None:
        """Write our name into a lease; or say whose it is."""
        state = lock(descriptor)
        if state == "busy":
            locker = _holder_of(descriptor) or Holder("", 0)
            return locker._replace(locked=True)
        locks = state == "held"
        holder = _holder_of(descriptor)
        if holder is not None and self._lives(holder, descriptor, path, locks):
            return holder
        try:
            _sign(descriptor)
        except OSError:
            # A lease that does not say whose it is would be left for ever when the disk is full.
            with contextlib.suppress(OSError):
                if _is_at(descriptor, path):
                    path.unlink()
            raise
        return None

    def _lives(self, holder: Holder, descriptor: int, path: Path, locks: bool) -> bool:
        """Whether the holder of a lease that we have locked, or that has no lock, is at work."""
        if holder.host != socket.gethostname():
            everybodys = locks and mount_of(path.parent).shares_locks
            return not everybodys and self._is_touched(descriptor, path)
        if locks:
            return False
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def _is_touched(self, descriptor: int, path: Path) -> bool:
        """Whether a lease was touched not long ago, as far as we have seen."""
        touched = os.fstat(descriptor).st_mtime_ns
        if time.time() - touched / 1e9 >= _DEAD_AFTER_S:
            return False
        now = time.monotonic()
        if self._seen.get(path, (0, 0.0))[0] != touched:
            self._seen[path] = touched, now
        return now - self._seen[path][1] < SILENT_S


def lease_path(target: Path) -> Path:
    """Where the lease of a result lies."""
    return target.parent / f"{temporary_prefix(target)}lease"


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still there under its name: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder_of(descriptor: int) -> Holder | None:
    """Whoever has signed a lease; nobody if it is empty, as a killed writer may leave it.

    Raises:
        OSError: If the file is no lease, and so is not ours to write to.
    """
    content = os.pread(descriptor, _LARGEST, 0).strip(b"\0")
    if not content:
        return None
    try:
        told = json.loads(content)
        return Holder(str(told["host"]), int(told["pid"]), int(told.get("since_ns", 0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OSError(errno.ELOOP, "a file that is no lease has the name of its lease") from None


def _sign(descriptor: int) -> None:
    """Write who holds a lease, and since when."""
    us = {"host": socket.gethostname(), "pid": os.getpid()}
    os.ftruncate(descriptor, 0)
    # Only the file system's own clock can be compared with the times of results.
    os.pwrite(descriptor, b"\0", 0)
    since = os.fstat(descriptor).st_mtime_ns
    os.pwrite(descriptor, json.dumps({**us, "since_ns": since}).encode(), 0)
