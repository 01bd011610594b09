"""Space on disk that the cache of a run takes, computed before anything is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ct_vae.datasets.cache.brick_layout import CACHE_FORMAT, BrickLayout
from ct_vae.errors import ConfigError
from ct_vae.grid import Triple
from ct_vae.io.atomic.file import writing_failed

# Record of an entry: its facts, and one number per plane of the first axis.
_RECORD_BYTES, _PLANE_BYTES = 1024, 16
# Entries of the first format, which was an array of NumPy.
_EARLIER = re.compile(r"[0-9a-f]{64}\.npy")
_UNFINISHED = re.compile(r"\..*\.tmp")


@dataclass(frozen=True)
class CacheSpace:
    """Space of the entries of a run.

    Attributes:
        folder: Folder of the cache.
        stored: Sizes of the entries in the cache in bytes.
        missing: Sizes of the entries to be written; ``None`` if a header does not tell.
        free: Bytes that can be written to the disk of the folder, with those of unfinished entries.
    """

    folder: Path
    stored: Sequence[int]
    missing: Sequence[int | None]
    free: int

    @property
    def _needed(self) -> int:
        return sum(size or 0 for size in self.missing)

    @property
    def line(self) -> str:
        """Description of the space for the terminal, with the path of the folder."""
        total = _size_text(sum(self.stored) + self._needed)
        count = len(self.stored) + len(self.missing)
        bound = "at least " if None in self.missing else ""
        text = f"the cache of {count} training case(s) takes {bound}{total} in {self.folder}"
        if not self.missing:
            return f"{text} and is complete"
        return (
            f"{text}; {len(self.missing)} of them ({bound}{_size_text(self._needed)}) have to be "
            f"written, and {_size_text(self.free)} are free"
        )

    @property
    def problem(self) -> ConfigError | None:
        """Error if the missing entries do not fit on the disk."""
        if self._needed <= self.free:
            return None
        return ConfigError(
            f"data.cache_dir {self.folder} needs {_size_text(self._needed)} more for "
            f"{len(self.missing)} training case(s), and {_size_text(self.free)} are free there",
            "free some space, or name a folder on a larger disk",
        )


def entry_bytes(shape: Triple) -> int:
    """Return the size of an entry of the cache with a volume of this shape."""
    return BrickLayout(shape).file_bytes + _RECORD_BYTES + _PLANE_BYTES * shape[0]


def free_bytes(folder: Path) -> int:
    """Return the bytes that can be written to a folder, which need not exist yet.

    Temporary files are counted as free: they become entries that are still missing.

    Raises:
        OutputError: If the file system does not answer.
    """
    try:
        existing = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
        status = os.statvfs(existing)
    except OSError as error:
        writing_failed(folder, error)
    return status.f_bavail * status.f_frsize + _size(_named(folder, _UNFINISHED))


def earlier_entries(folder: Path) -> str | None:
    """Return a line about entries of the first format, which are not read, or ``None``."""
    found = _named(folder, _EARLIER)
    if not found:
        return None
    return (
        f"{folder} also holds {len(found)} entries of format 1 ({_size_text(_size(found))}): this "
        f"version writes format {CACHE_FORMAT} instead; delete the *.npy files there once no run "
        "of an earlier version uses them"
    )


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    with suppress(OSError):
        return [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return []


def _size(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        # Other processes rename and remove files at any time.
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _size_text(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
