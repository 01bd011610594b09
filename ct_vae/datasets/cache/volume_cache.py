"""Decoded volumes on disk, named by content and preprocessing and shared by all who train on them.

An entry is ``KEY.npy`` with the voxels and ``KEY.json`` with the record that vouches for them.
Neither holds anything of the source but its voxels: no name, no path, no place in the patient.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ct_vae import __version__
from ct_vae.datasets.cache.stored_volume import StoredVolume, as_int16, count_body
from ct_vae.errors import InputError, OutputError
from ct_vae.io.atomic.file import atomic_write, sha256_file, write_json, writing_failed
from ct_vae.io.file_stamp import stamp
from ct_vae.io.folders import make_folders
from ct_vae.io.lock_file import lock, open_lock_file
from ct_vae.volume import Volume

# Goes up when the same key would have to mean other bytes.
CACHE_FORMAT = 1

_SLAB_VOXELS = 1 << 22
_LOCKS = "locks"


class DamagedEntryError(InputError):
    """An entry of the cache is not what was written."""


class VolumeCache:
    """A folder of entries.

    Several processes may use it at once. Each entry is written under a lock, and where a file
    system has no locks the last of two equal writers wins: every file appears whole.

    Size and header are checked each time an entry is opened, its checksum only if the stamp of the
    file is not the one that was noted when it was last known to be right: whoever has written into
    it has changed that stamp.

    Args:
        folder: It is made when the first entry is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> StoredVolume | None:
        """The entry, or ``None`` if there is none.

        Raises:
            DamagedEntryError: If it is there, and wrong.
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
            header = _header(facts["shape"])
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
        """Write an entry, in place of a damaged one.

        Raises:
            OutputError: If it cannot be written in full.
        """
        path, record_path = self._paths(key)
        voxels = as_int16(volume.voxels)
        # Without its record a file is nobody's; a record that stays would vouch for other bytes.
        try:
            record_path.unlink(missing_ok=True)
        except OSError as error:
            writing_failed(record_path, error)
        sha256 = _write_array(path, voxels)
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
        """Keep other processes from writing this entry; false if one is at it and ``wait`` is not.

        The lock is a byte of one file, at a place that follows from the key, and ends with its
        process.

        Raises:
            OutputError: If the folder cannot be written to.
        """
        try:
            make_folders(self.folder)
            descriptor = open_lock_file(self.folder / _LOCKS)
        except OSError as error:
            writing_failed(self.folder / _LOCKS, error)
        try:
            # Without locks both write, and the last of two equal files stays.
            yield lock(descriptor, wait=wait, byte=int(key[:15], 16)) != "busy"
        finally:
            os.close(descriptor)

    def _check_sum(self, path: Path, facts: dict[str, Any]) -> None:
        if sha256_file(path) != facts["sha256"]:
            raise DamagedEntryError("its checksum is not the recorded one")
        facts = {**facts, "stamp": stamp(path)}
        # Not noting it costs the next start another look, no more.
        with contextlib.suppress(OutputError):
            write_json(path.with_suffix(".json"), {"entry": facts, "sha256": _digest(facts)})

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"


def entry_key(*decisive: object) -> str:
    """Name of an entry: 64 hexadecimal digits from all that decides about its voxels.

    A new version of this package may read a file otherwise, and so begins anew.
    """
    return _digest([CACHE_FORMAT, __version__, *decisive])


def _entry(path: Path, facts: dict[str, Any]) -> StoredVolume:
    x, y, z = facts["shape"]
    a, b, c = facts["spacing_mm"]
    counts = np.array(facts["body_counts"], np.int64)
    return StoredVolume((x, y, z), (a, b, c), counts, path, len(_header((x, y, z))))


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


def _header(shape: Sequence[int]) -> bytes:
    """What stands before the voxels in a ``.npy`` file."""
    header = io.BytesIO()
    facts = {"descr": "<i2", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue()


def _write_array(path: Path, voxels: NDArray[np.int16]) -> str:
    """Write ``.npy`` and give its checksum."""
    header = _header(voxels.shape)
    digest = hashlib.sha256(header)
    step = max(1, _SLAB_VOXELS // voxels[0].size)
    with atomic_write(path) as file:
        file.write(header)
        for start in range(0, len(voxels), step):
            slab = np.ascontiguousarray(voxels[start : start + step], "<i2").data.cast("B")
            digest.update(slab)
            file.write(slab)
    return digest.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
