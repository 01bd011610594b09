"""Atomic folders: a folder gets its final name only once all of its files are on the disk."""

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
    """Locked temporary folder, next to its target, that gets its final name when published."""

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
        """Write a file, with any folders in its name, and flush it to the disk.

        Raises:
            OutputError: If the file cannot be written in full.
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
        """Rename the folder to its final name, replacing an older folder."""
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
        """Unlock the folder, and remove it if it was not published."""
        # Remove it while it is locked: other processes may take the name once it is unlocked.
        if not self._published:
            shutil.rmtree(self._temporary, ignore_errors=True)
        os.close(self._lock)

    def _replace(self) -> None:
        """Move the older folder aside until the new one has its name.

        Not every system can swap two folders. If the process is killed in between, the next write
        to this target moves the older folder back.
        """
        aside = _free_name(self.target, "old")
        # The lock shows other processes that the folder is not a leftover of a killed process.
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
                        self._temporary = _free_name(self.target, "tmp")
                        os.replace(self.target, self._temporary)  # noqa: PTH105
                        self._published = False
                    os.replace(aside, self.target)  # noqa: PTH105
                raise
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            os.close(older)


@contextmanager
def atomic_folder(target: str | Path, overwrite: bool = False) -> Iterator[FolderStage]:
    """Create a folder that is renamed to ``target`` when the block ends without an exception.

    If the block or a disk operation fails, the folder is removed with its content, and an older
    folder at ``target`` is left unchanged. Leftovers of killed writers of the same target are
    removed first.

    Args:
        target: Final path; the parent folder is created if missing.
        overwrite: Replace an existing folder with all of its content.

    Raises:
        OutputError: If ``target`` exists and ``overwrite`` is False, or if writing fails.
    """
    stage = FolderStage(Path(target), overwrite)
    try:
        yield stage
        stage.publish()
    finally:
        stage.discard()


def _free_name(target: Path, ending: Literal["tmp", "old"]) -> Path:
    """Return the first temporary name that does not exist."""
    return next(path for path in numbered(target, ending) if not os.path.lexists(path))


def _create_locked(target: Path) -> tuple[Path, int]:
    """Create and lock a new temporary folder that no other process has removed as stale."""
    while True:
        temporary = _free_name(target, "tmp")
        try:
            temporary.mkdir()
        except FileExistsError:
            continue
        # Another process may have removed the folder as stale just before it was locked.
        descriptor = _locked(temporary, wait=True)
        if descriptor is not None:
            return temporary, descriptor


def _settle(target: Path) -> None:
    """Remove leftovers of killed writers of a target; restore the folder that they moved aside."""
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
    """Lock a folder; return its descriptor, or ``None`` if it is gone or locked elsewhere."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    # Without locks in the file system, leave the folders of other processes alone.
    mine = lock(descriptor, wait=wait) == "held" or wait
    # Another folder may have got this name since.
    with contextlib.suppress(OSError):
        if mine and os.path.samestat(os.fstat(descriptor), folder.stat(follow_symlinks=False)):
            return descriptor
    os.close(descriptor)
    return None
