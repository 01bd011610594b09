"""Latents of an earlier run that need not be encoded again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ct_vae.batch.pipeline import Kept
from ct_vae.errors import CtVaeError, OutputError
from ct_vae.find_volumes.cases import Case
from ct_vae.io import ReadOptions, volume_sha256
from ct_vae.io.file_stamp import is_settled, stamps
from ct_vae.io.latent.read_latent import whole_record
from ct_vae.io.latent.write_latent import note_source
from ct_vae.io.remote import RemoteFile, look_up
from ct_vae.io.source_files import source_files
from ct_vae.latent import LatentRecord
from ct_vae.version import __version__
from ct_vae.volume import Volume


@dataclass(frozen=True)
class KeptLatents:
    """Finds latents that encoding would only repeat, if possible without reading their sources.

    The record of a latent has the stamp of its source files: their sizes and times. If they are
    unchanged, the source is not read; otherwise its voxels are compared.

    Attributes:
        targets: Paths of the latents.
        options: Options of reading.
        repeats: Returns True if encoding the same source would give a latent with this record.
        by_content: Always compare the voxels.
    """

    targets: Mapping[Case, Path]
    options: ReadOptions
    repeats: Callable[[LatentRecord], bool]
    by_content: bool = False
    _stamps: dict[Case, str | None] = field(default_factory=dict)

    def before_reading(self, case: Case) -> Kept | None:
        """Return that a latent is kept if its source files are unchanged."""
        if self.by_content or not self._is_there(case):
            return None
        record = whole_record(self.targets[case])
        if record is None or record.run is None or record.run.source_files is None:
            return None
        if record.run.source_files != self._stamp(case) or not self.repeats(record):
            return None
        return self._kept(case)

    def read(self, case: Case) -> Volume:
        """Read a source, and remember the stamp of its files unless they change meanwhile.

        Raises:
            CtVaeError: If the source cannot be read.
        """
        before = self._stamp(case)
        volume = case.read(self.options)
        self._stamps[case] = before if self._stamp(case) == before else None
        return volume

    def after_reading(self, case: Case, volume: Volume) -> Kept | None:
        """Return that a latent is kept if its source has the same voxels, and store the stamp."""
        if not self._is_there(case):
            return None
        target = self.targets[case]
        record = whole_record(target)
        if record is None or not self.repeats(record):
            return None
        # The digest is slow, so it is computed only if there is a record to compare with.
        if record.source.sha256 != volume_sha256(volume):
            return None
        stamp = self.stamp_of(case)
        if stamp is not None:
            # If this fails, the next run only compares the voxels again.
            with suppress(OutputError):
                note_source(target, record, stamp)
        return self._kept(case)

    def stamp_of(self, case: Case) -> str | None:
        """Return the stamp of the files of a case; ``None`` if they changed during reading."""
        return self._stamps.pop(case, None)

    def _is_there(self, case: Case) -> bool:
        return os.path.exists(self.targets[case])  # noqa: PTH110 - no error for long names

    def _kept(self, case: Case) -> Kept:
        return Kept(f"{self.targets[case]} is done already")

    def _stamp(self, case: Case) -> str | None:
        """Return a digest of everything that affects the voxels, without reading the files."""
        found = _remote_stamp(case.remote) if case.remote is not None else _local_stamp(case)
        if found is None:
            return None
        series = case.series.id if case.series else case.path.name
        # Another version may read other voxels.
        decisive = [__version__, series, str(self.options), found]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _local_stamp(case: Case) -> list[list[int]] | None:
    """Return the metadata of the files of a case, unless they may still change unnoticed."""
    try:
        found = stamps(source_files(case.path, case.series))
    except OSError:
        return None
    return found if is_settled(found) else None


def _remote_stamp(file: RemoteFile) -> list[str] | None:
    """Return the version of a remote file, if its store has versions."""
    try:
        version = file.version or look_up(file.url).version
    except CtVaeError:
        return None
    return [file.url, version] if version else None
