"""Temporary files for feature maps: on a disk, and gone whatever ends the process."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch

from ct_vae.errors import ConfigError, OutputError
from ct_vae.io.mounts import mount_of

# File systems that hold files in memory, which a spool is there to save.
_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


class SpoolFile:
    """A file without a name: unlinked once it is open, read and written by offset.

    Args:
        size: Bytes, all of which are reserved at once.
        folder: Where it lies; see `spool_folder`.

    Raises:
        OutputError: If the disk does not hold it.
    """

    def __init__(self, size: int, folder: Path) -> None:
        self.size = size
        with ExitStack() as on_failure:
            try:
                self._file = tempfile.TemporaryFile(dir=folder, prefix="ct_vae_spool_", buffering=0)  # noqa: SIM115 - closed with the spool
                on_failure.callback(self._file.close)
                _reserve(self._file.fileno(), size)
            except OSError as error:
                raise OutputError(
                    f"{folder} does not hold {size / 2**30:.2g} GiB of intermediate results: "
                    f"{error.strerror}",
                    "set TMPDIR to a folder on a larger disk, or raise --max-memory-gb",
                ) from error
            on_failure.pop_all()

    def read(self, offset: int, out: torch.Tensor) -> None:
        """Fill a contiguous tensor on the CPU."""
        room = _bytes(out)
        while room:
            count = os.preadv(self._file.fileno(), [room], offset)
            assert count > 0, "a spool is read where it was written"
            room, offset = room[count:], offset + count

    def write(self, offset: int, values: torch.Tensor) -> None:
        """Store a contiguous tensor that lies on the CPU."""
        rest = _bytes(values)
        while rest:
            count = os.pwritev(self._file.fileno(), [rest], offset)
            rest, offset = rest[count:], offset + count

    def close(self) -> None:
        """Give the disk its room back."""
        self._file.close()


def _bytes(values: torch.Tensor) -> memoryview:
    return memoryview(values.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def spool_folder(needed: int) -> Path:
    """A folder on a disk with room for ``needed`` bytes.

    The one for temporary files comes first (``TMPDIR``), then ``/var/tmp``, then the current one.

    Raises:
        ConfigError: If none of them is on a disk and has the room.
    """
    folders = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]  # noqa: S108 - a folder, not a file with a known name
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
        return "lies in memory"
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    return f"has only {free / 2**30:.2g} GiB free" if free < needed else None


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
