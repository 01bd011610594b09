"""Leases: files that show other processes which results are being computed."""

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

# Interval in which a running holder touches its leases.
_TOUCHED_S = 30
# Without locks, a holder on another host counts as dead if its lease is not touched for this time
# while it is watched, or for the longer time below by the clocks of two hosts, which may differ.
SILENT_S = 3 * _TOUCHED_S
_DEAD_AFTER_S = 900
_LARGEST = 1000


class Holder(NamedTuple):
    """The process that computes a result.

    Attributes:
        host: Name of the machine.
        pid: Process id; 0 if unknown.
        since_ns: Time at which the lease was taken, by the clock of the file system; 0 if unknown.
        locked: True if the lease was locked, so that its holder is running.
    """

    host: str
    pid: int
    since_ns: int = 0
    locked: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another process"

    def has_written(self, target: Path) -> bool:
        """Return True if the target was written after the lease was taken."""
        try:
            return 0 < self.since_ns <= target.stat().st_mtime_ns
        except OSError:
            return False


class Leases:
    """Leases of this process: files next to results that keep other processes from computing them.

    Leases are locked, and the system releases the lock if the holder dies, so that an unlocked
    lease can be taken. Some network file systems have no locks, or none between hosts. There, a
    holder on this host is dead if its process has ended, and a holder on another host if it does
    not touch its lease while it is watched.
    """

    def __init__(self) -> None:
        self._held: dict[Path, int] = {}
        # Last modification of each lease of another host, and the time when it was first seen.
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
        """Take the lease of a result; return its holder if another process has it.

        Raises:
            OutputError: If the folder cannot be written to, or a link or another file has the name
                of the lease.
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
        """Release the lease of a result, if this process has it."""
        with self._changing:
            descriptor = self._held.pop(target, None)
        if descriptor is None:
            return
        # Removed while it is locked, so that waiting processes see that it is gone.
        with contextlib.suppress(OSError):
            lease_path(target).unlink()
        os.close(descriptor)

    def _touch_all(self) -> None:
        while not self._closed.wait(_TOUCHED_S):
            with self._changing, contextlib.suppress(OSError):
                for descriptor in self._held.values():
                    os.utime(descriptor)

    def _try(self, descriptor: int, path: Path) -> Holder | None:
        """Sign a lease; return its holder if another process has it."""
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
            # If the disk is full, an unsigned lease would stay forever.
            with contextlib.suppress(OSError):
                if _is_at(descriptor, path):
                    path.unlink()
            raise
        return None

    def _lives(self, holder: Holder, descriptor: int, path: Path, locks: bool) -> bool:
        """Return True if the holder of a lease without a lock of another process is running."""
        if holder.host != socket.gethostname():
            shared = locks and mount_of(path.parent).shares_locks
            return not shared and self._is_touched(descriptor, path)
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
        """Return True if a lease was touched recently."""
        touched = os.fstat(descriptor).st_mtime_ns
        if time.time() - touched / 1e9 >= _DEAD_AFTER_S:
            return False
        now = time.monotonic()
        if self._seen.get(path, (0, 0.0))[0] != touched:
            self._seen[path] = touched, now
        return now - self._seen[path][1] < SILENT_S


def lease_path(target: Path) -> Path:
    """Return the path of the lease of a result."""
    return target.parent / f"{temporary_prefix(target)}lease"


def is_running(path: Path) -> bool:
    """Return True if a process holds a lease, without changing it.

    If the file system has no locks, a lease counts as held if it was touched recently.

    Args:
        path: Path of the lease.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        state = lock(descriptor)
        if state == "held":
            own = mount_of(path.parent).shares_locks
            holder = _holder_of(descriptor)
            if own or holder is None or holder.host == socket.gethostname():
                return False
        if state == "busy":
            return True
        return time.time() - os.fstat(descriptor).st_mtime < _DEAD_AFTER_S
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return True if the open file still has this path; its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder_of(descriptor: int) -> Holder | None:
    """Return the holder that signed a lease; ``None`` if it is empty, as after a killed writer.

    Raises:
        OSError: If the file is not a lease, so that it must not be changed.
    """
    content = os.pread(descriptor, _LARGEST, 0).strip(b"\0")
    if not content:
        return None
    try:
        signed = json.loads(content)
        return Holder(str(signed["host"]), int(signed["pid"]), int(signed.get("since_ns", 0)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OSError(errno.ELOOP, "another file has the name of its lease") from None


def _sign(descriptor: int) -> None:
    """Write host, process and time into a lease."""
    holder = {"host": socket.gethostname(), "pid": os.getpid()}
    os.ftruncate(descriptor, 0)
    # Only the clock of the file system can be compared with the times of results.
    os.pwrite(descriptor, b"\0", 0)
    since = os.fstat(descriptor).st_mtime_ns
    os.pwrite(descriptor, json.dumps({**holder, "since_ns": since}).encode(), 0)
