"""Atomic writing: a file gets its final name only once all of its bytes are on the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

from ct_vae.errors import InputError, OutputError
from ct_vae.io.atomic.leftovers import leftovers, numbered
from ct_vae.io.folders import make_folders
from ct_vae.io.lock_file import lock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BUFFER_BYTES = 1 << 20
# Some network file systems cannot sync a folder; the rename itself has succeeded.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}

_HINTS = {
    errno.ENOSPC: "the disk is full: free some space or choose another output folder",
    errno.EDQUOT: "the quota is used up: free some space or choose another output folder",
    errno.EFBIG: "the file is larger than this file system or account allows",
    errno.EACCES: "give yourself write permission there or choose another output folder",
    errno.EPERM: "give yourself write permission there or choose another output folder",
    errno.EROFS: "the file system is read-only: choose another output folder",
    errno.ENOTDIR: "a part of the path is a file: choose another output folder",
    errno.EEXIST: "a part of the path is a file: choose another output folder",
    errno.EISDIR: "a folder has this name: choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "the name is a link: remove it if it is not needed, or choose another name",
    errno.EIO: "the disk reported a fault: check it, then run the same command again",
    errno.ESTALE: "the network share went away: mount it again, then run the same command again",
}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that is renamed to ``path`` when the block ends without an exception.

    The bytes go to a locked temporary file in the same folder, which is created if missing. If the
    block or a disk operation fails, the temporary file is removed and an older file at ``path`` is
    left unchanged.

    Raises:
        OutputError: If the file cannot be written in full.
    """
    with _staged(Path(path)) as stage:
        yield stage.file
        stage.seal()
        stage.publish()


def write_together(contents: Sequence[tuple[Path, bytes]]) -> None:
    """Write several files; they get their names, in this order, once all are on the disk.

    Raises:
        OutputError: If a file cannot be written in full.
    """
    with ExitStack() as stack:
        stages = [stack.enter_context(_staged(path)) for path, _ in contents]
        for stage, (_, content) in zip(stages, contents, strict=True):
            stage.file.write(content)
            stage.seal()
        for stage in stages:
            stage.publish()


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically.

    Raises:
        OutputError: If the file cannot be written in full.
    """
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically with an indent of two spaces, keys in the given order and no NaN.

    Raises:
        OutputError: If the file cannot be written in full.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


class _RawFile(io.RawIOBase):
    """Raw file that writes with `os.write` and raises OutputError if that fails."""

    def __init__(self, descriptor: int, target: Path) -> None:
        self.descriptor = descriptor
        self.target = target

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return os.write(self.descriptor, data)
        except OSError as error:
            writing_failed(self.target, error)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self.descriptor)


class _Stage:
    """Locked temporary file that gets its final name when it is published."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._published = False
        try:
            _check_target(target)
            make_folders(target.parent)
            _remove_stale(target)
            self.temporary, descriptor = _create_locked(target)
        except OSError as error:
            writing_failed(target, error)
        raw = _RawFile(descriptor, target)
        self.file = cast("BinaryIO", io.BufferedWriter(raw, _BUFFER_BYTES))

    def seal(self) -> None:
        """Flush all bytes to the disk."""
        self.file.flush()
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            writing_failed(self.target, error)

    def publish(self) -> None:
        """Rename the file to its final name."""
        try:
            os.replace(self.temporary, self.target)  # noqa: PTH105 - the tests' point of injection
            self._published = True
            sync_folder(self.target.parent)
        except OSError as error:
            writing_failed(self.target, error)

    def discard(self) -> None:
        """Close the file, and remove it if it was not published."""
        # Remove it while it is locked: other processes may take the name once it is unlocked.
        if not self._published:
            with contextlib.suppress(OSError):
                self.temporary.unlink()
        with contextlib.suppress(OutputError, OSError):
            self.file.close()


@contextmanager
def _staged(target: Path) -> Iterator[_Stage]:
    stage = _Stage(target)
    try:
        yield stage
    finally:
        stage.discard()


def _check_target(target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a device or a pipe, not a regular file")


def _create_locked(target: Path) -> tuple[Path, int]:
    """Create and lock a new temporary file that no other process has removed as stale.

    Names are numbered, so that the leftovers of a killed writer of the same target are found, and
    removed, without listing the folder.
    """
    names = numbered(target, "tmp")
    temporary = next(names)
    while True:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o666)
        except FileExistsError:
            temporary = temporary if _remove_if_unlocked(temporary) else next(names)
            continue
        lock(descriptor, wait=True)
        # Another process may have removed the file as stale just before it was locked.
        if os.fstat(descriptor).st_nlink > 0:
            return temporary, descriptor
        os.close(descriptor)


def _remove_stale(target: Path) -> None:
    """Remove temporary files that killed writers of the same target left behind."""
    for path, ending in leftovers(target):
        if ending == "tmp":
            _remove_if_unlocked(path)


def _remove_if_unlocked(temporary: Path) -> bool:
    """Remove a file that no process has locked; return True if the file no longer exists."""
    # Errors mean that another process has published, removed or owns the file.
    with contextlib.suppress(OSError):
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # Remove nothing if the file system has no locks, or if another file got the name while
            # this one was opened.
            if lock(descriptor) == "held" and os.path.samestat(
                os.fstat(descriptor), temporary.stat(follow_symlinks=False)
            ):
                temporary.unlink()
        finally:
            os.close(descriptor)
    return not os.path.lexists(temporary)


def sync_folder(folder: Path) -> None:
    """Flush the directory entries of a folder to the disk.

    Raises:
        OSError: If the folder cannot be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def writing_failed(target: Path, error: OSError) -> NoReturn:
    """Raise an OutputError with a hint for an OSError.

    Raises:
        OutputError: Always.
    """
    hint = _HINTS.get(error.errno or 0, "check the output folder, then run the same command again")
    raise OutputError(f"cannot write {target}: {error.strerror or error}", hint) from error
