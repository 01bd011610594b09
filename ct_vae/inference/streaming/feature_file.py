"""Temporary files for feature maps, which disappear however the process ends."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import torch

from ct_vae.errors import ConfigError, OutputError
from ct_vae.io.mounts import mount_of

# File systems in memory, which would defeat the purpose of a file.
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


class FeatureFile:
    """Anonymous temporary file, read and written by offset.

    Args:
        size: Size in bytes, reserved at once.
        folder: Folder of the file, see `feature_folder`.

    Raises:
        OutputError: If there is not enough disk space.
    """

    def __init__(self, size: int, folder: Path) -> None:
        self.size = size
        with ExitStack() as on_failure:
            try:
                self._file = tempfile.TemporaryFile(dir=folder, prefix="ct_vae_spool_", buffering=0)  # noqa: SIM115 - closed with the buffer
                on_failure.callback(self._file.close)
                _reserve(self._file.fileno(), size)
            except OSError as error:
                raise OutputError(
                    f"{folder} has no space for {size / 2**30:.2g} GiB of intermediate results: "
                    f"{error.strerror}",
                    "set TMPDIR to a folder on a larger disk, or raise --max-memory-gb",
                ) from error
            on_failure.pop_all()

    def read(self, offset: int, out: torch.Tensor) -> None:
        """Fill a contiguous CPU tensor with the values at ``offset``."""
        rest = _bytes(out)
        while rest:
            count = os.preadv(self._file.fileno(), [rest], offset)
            assert count > 0, "a buffer is read where it was written"
            rest, offset = rest[count:], offset + count

    def write(self, offset: int, values: torch.Tensor) -> None:
        """Write a contiguous CPU tensor at ``offset``."""
        rest = _bytes(values)
        while rest:
            count = os.pwritev(self._file.fileno(), [rest], offset)
            rest, offset = rest[count:], offset + count

    def close(self) -> None:
        """Close the file, which frees its disk space."""
        self._file.close()


def _bytes(values: torch.Tensor) -> memoryview:
    return memoryview(values.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def feature_folder(needed: int) -> Path:
    """Return a folder on a disk with ``needed`` bytes of free space.

    Candidates are, in order, the folder for temporary files (``TMPDIR``), ``/var/tmp`` and the
    current folder.

    Raises:
        ConfigError: If none of them is on a disk with enough space.
    """
    folders = [Path("/var/tmp"), Path.cwd()]  # noqa: S108 - a folder, not a file with a known name
    # There may be no folder for temporary files at all.
    with suppress(OSError):
        folders.insert(0, Path(tempfile.gettempdir()))
    reasons = []
    for folder in dict.fromkeys(folders):
        problem = _problem(folder, needed)
        if problem is None:
            return folder
        reasons.append(f"{folder} {problem}")
    raise ConfigError(
        f"no folder for {needed / 2**30:.2g} GiB of intermediate results: {', '.join(reasons)}",
        "set TMPDIR to a folder on a disk, or raise --max-memory-gb",
    )


def _problem(folder: Path, needed: int) -> str | None:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return "cannot be written to"
    if mount_of(folder).kind in _IN_MEMORY:
        return "is in memory"
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    return f"has only {free / 2**30:.2g} GiB free" if free < needed else None


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
