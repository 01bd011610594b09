"""Folders that appear under their final name only when every file in them is on the disk."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ct_vae.errors import OutputError
from ct_vae.io.atomic.file import sync_folder, writing_failed
from ct_vae.io.atomic.leftovers import leftovers, numbered
from ct_vae.io.folders import make_folders
from ct_vae.io.lock_file import lock


class FolderStage:
    """A locked temporary folder on its way to its final name, beside which it lies."""

    def __init__(self, target: Path, overwrite: bool) -> None:
        self.target = target
        self._published = False
        try:
            make_folders(target.parent)
            _settle(target)
            folder = target.is_dir() and not target.is_symlink()
            if os.path.lexists(target) and not (overwrite and folder):
                hint = "--overwrite replaces it" if folder else "choose another name"
                raise OutputError(f"cannot write {target}: it exists already", hint)
            self._temporary, self._lock = _create_locked(target)
        except OSError as error:
            writing_failed(target, error)

    def write(self, name: str, content: bytes) -> None:
        """Add a file, in folders of its own if its name has them, and bring it to the disk.

        Raises:
            OutputError: If it cannot be written in full.
        """
        try:
            (self._temporary / name).parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(self._temporary / name, flags, 0o666)
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            writing_failed(self.target / name, error)

    def publish(self) -> None:
        """Give the folder its final name, in place of an older one."""
        try:
            for folder in (self._temporary, *self._temporary.rglob("*/")):
                sync_folder(folder)
            if os.path.lexists(self.target):
                self._replace()
            else:
                os.replace(self._temporary, self.target)  # noqa: PTH105 - as in atomic.py
                self._published = True
                sync_folder(self.target.parent)
        except OSError as error:
            writing_failed(self.target, error)

    def discard(self) -> None:
        """Remove the folder if it never got its final name, and unlock it."""
        # The name is free for others once it has been given up.
        if not self._published:
            shutil.rmtree(self._temporary, ignore_errors=True)
        os.close(self._lock)

    def _replace(self) -> None:
        """Put the older folder aside until the new one is there.

        No call swaps two folders everywhere. If the process is killed in between, the next write
        to this target puts the older one back.
        """
        aside = _beside(self.target, "old")
        # While it is locked nobody takes it for what a killed process has left.
        older = os.open(self.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lock(older)
            os.replace(self.target, aside)  # noqa: PTH105
            try:
                os.replace(self._temporary, self.target)  # noqa: PTH105
                self._published = True
                sync_folder(self.target.parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    if self._published:
                        self._temporary = _beside(self.target, "tmp")
                        os.replace(self.target, self._temporary)  # noqa: PTH105
                        self._published = False
                    os.replace(aside, self.target)  # noqa: PTH105
                raise
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            os.close(older)


@contextmanager
def atomic_folder(target: str | Path, overwrite: bool = False) -> Iterator[FolderStage]:
    """Give a folder to fill that takes the name ``target`` when the block ends without exception.

    When the block or a disk operation fails, it is removed with all that is in it, and an older
    folder at ``target`` is left as it was. What a killed process left of the same target is
    removed first.

    Args:
        target: Its name; the folder above it is made if missing.
        overwrite: Replace an older folder, whatever is in it; otherwise one is refused.

    Raises:
        OutputError: If ``target`` exists and is not to be replaced, or something cannot be written.
    """
    stage = FolderStage(Path(target), overwrite)
    try:
        yield stage
        stage.publish()
    finally:
        stage.discard()


def _beside(target: Path, ending: Literal["tmp", "old"]) -> Path:
    """The first name of its kind that is free."""
    return next(path for path in numbered(target, ending) if not os.path.lexists(path))


def _create_locked(target: Path) -> tuple[Path, int]:
    """Make and lock a new temporary folder, which no cleaner has taken for a stale one."""
    while True:
        temporary = _beside(target, "tmp")
        try:
            temporary.mkdir()
        except FileExistsError:
            continue
        # A cleaner may have removed the folder in the moment before it was locked.
        descriptor = _locked(temporary, wait=True)
        if descriptor is not None:
            return temporary, descriptor


def _settle(target: Path) -> None:
    """Remove what a killed writer of the same target left; put back what it had put aside."""
    for path, ending in leftovers(target):
        if path.is_symlink() or not path.is_dir():
            continue
        descriptor = _locked(path, wait=False)
        if descriptor is None:
            continue
        try:
            if ending == "old" and not os.path.lexists(target):
                os.replace(path, target)  # noqa: PTH105
            else:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _locked(folder: Path, wait: bool) -> int | None:
    """An open descriptor that holds the lock; ``None`` if the folder is gone or another's."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    # Without locks, nobody else's folder is removed.
    mine = lock(descriptor, wait=wait) == "held" or wait
    # Another folder may have got the name while this one was opened.
    with contextlib.suppress(OSError):
        if mine and os.path.samestat(os.fstat(descriptor), folder.stat(follow_symlinks=False)):
            return descriptor
    os.close(descriptor)
    return None
