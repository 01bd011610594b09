"""Cache of decoded volumes on disk, which several runs can share.

Entries are named by content and preprocessing: ``KEY.bricks`` with the voxels and
``KEY.json`` with their checksum. They contain no names, paths or positions in patient space.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ct_vae.datasets.cache.brick_file import BrickFile, write_bricks
from ct_vae.datasets.cache.brick_layout import CACHE_FORMAT, BrickLayout
from ct_vae.datasets.cache.stored_volume import StoredVolume, as_int16, count_body
from ct_vae.errors import InputError, OutputError
from ct_vae.io.atomic.file import sha256_file, write_json, writing_failed
from ct_vae.io.file_stamp import stamp
from ct_vae.io.folders import make_folders
from ct_vae.io.lock_file import lock, open_lock_file
from ct_vae.version import __version__
from ct_vae.volume import Volume

_LOCKS = "locks"


class DamagedEntryError(InputError):
    """An entry of the cache is not what was written."""


class VolumeCache:
    """Folder of cached volumes that several processes may use concurrently.

    Each entry is written atomically under a lock. Without locks in the file system, two processes
    may write the same entry, and the last one wins.

    Size and header are checked each time an entry is opened, and its checksum if the stamp of the
    file has changed since the last check.

    Args:
        folder: Folder of the cache, created with the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> StoredVolume | None:
        """Return an entry, or ``None`` if there is none.

        Raises:
            DamagedEntryError: If the entry is damaged.
        """
        path, record_path = self._paths(key)
        try:
            text = record_path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise DamagedEntryError(f"its record cannot be read: {error}") from error
        facts = _checked_record(text)
        try:
            now = stamp(path)
            if now[1] != facts["bytes"]:
                raise DamagedEntryError(f"it has {now[1]} of {facts['bytes']} bytes")
            header = _layout(facts).header
            with path.open("rb") as file:
                if file.read(len(header)) != header:
                    raise DamagedEntryError("its header is not the recorded one")
            if now != facts["stamp"]:
                self._check_sum(path, facts)
        except (OSError, InputError) as error:
            if isinstance(error, DamagedEntryError):
                raise
            raise DamagedEntryError(f"it cannot be read: {error}") from error
        return _entry(path, facts)

    def put(self, key: str, volume: Volume) -> StoredVolume:
        """Write an entry, replacing a damaged one.

        Raises:
            OutputError: If the entry cannot be written in full.
        """
        path, record_path = self._paths(key)
        voxels = as_int16(volume.voxels)
        # The record of an older file must not be valid for the new one.
        try:
            record_path.unlink(missing_ok=True)
        except OSError as error:
            writing_failed(record_path, error)
        sha256 = write_bricks(path, voxels)
        facts = {
            "format": CACHE_FORMAT,
            "shape": list(volume.grid.shape),
            "spacing_mm": list(volume.grid.spacing_mm),
            "body_counts": count_body(voxels).tolist(),
            "bytes": path.stat().st_size,
            "sha256": sha256,
            "stamp": stamp(path),
        }
        write_json(record_path, {"entry": facts, "sha256": _digest(facts)})
        return _entry(path, facts)

    @contextmanager
    def writing(self, key: str, wait: bool) -> Iterator[bool]:
        """Lock an entry for writing; yields False if another process has it and ``wait`` is False.

        The lock is on one byte of a common file, whose offset depends on the key.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        try:
            make_folders(self.folder)
            descriptor = open_lock_file(self.folder / _LOCKS)
        except OSError as error:
            writing_failed(self.folder / _LOCKS, error)
        try:
            # Without locks, both processes write equal files, and the last one stays.
            yield lock(descriptor, wait=wait, byte=int(key[:15], 16)) != "busy"
        finally:
            os.close(descriptor)

    def _check_sum(self, path: Path, facts: dict[str, Any]) -> None:
        if sha256_file(path) != facts["sha256"]:
            raise DamagedEntryError("its checksum is not the recorded one")
        facts = {**facts, "stamp": stamp(path)}
        # If this fails, the next start only checks the sum again.
        with contextlib.suppress(OutputError):
            write_json(path.with_suffix(".json"), {"entry": facts, "sha256": _digest(facts)})

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.bricks", self.folder / f"{key}.json"


def entry_key(*decisive: object) -> str:
    """Return the key of an entry: 64 hexadecimal digits from everything that affects its voxels.

    The key depends on the version of this package, since another version may read other voxels.
    """
    return _digest([CACHE_FORMAT, __version__, *decisive])


def _entry(path: Path, facts: dict[str, Any]) -> StoredVolume:
    a, b, c = facts["spacing_mm"]
    layout = _layout(facts)
    counts = np.array(facts["body_counts"], np.int64)
    return StoredVolume(layout.shape, (a, b, c), counts, BrickFile(path, layout))


def _layout(facts: dict[str, Any]) -> BrickLayout:
    x, y, z = facts["shape"]
    return BrickLayout((x, y, z))


def _checked_record(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
        facts: dict[str, Any] = tree["entry"]
        right = _digest(facts) == tree["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedEntryError("its record is damaged") from error
    if not right:
        raise DamagedEntryError("its record is damaged")
    return facts


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
