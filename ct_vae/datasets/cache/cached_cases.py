"""Training cases loaded through a cache of decoded volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.datasets.cache.fingerprint import CONTENTS, Fingerprints
from ct_vae.datasets.cache.space import CacheSpace, earlier_entries, entry_bytes, free_bytes
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.cache.volume_cache import DamagedEntryError, VolumeCache, entry_key
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.datasets.sources.check import oriented_shape
from ct_vae.errors import InputError, NoInputError
from ct_vae.preprocess.pipeline import build_preprocessor


class CachedCases:
    """Loads training cases with one preprocessing through a cache.

    Args:
        folder: Folder of the cache.
        preprocess: Orientation and spacing; other settings do not affect cached HU.
        report: Called with lines about the space of the cache, damaged entries that are written
            again, and cases that other processes write.
        remember: True if fingerprints of files are stored in the cache.
    """

    def __init__(
        self,
        folder: Path,
        preprocess: PreprocessConfig,
        report: Callable[[str], None],
        remember: bool = True,
    ) -> None:
        self.folder = folder
        self._cache = VolumeCache(folder)
        self._fingerprints = Fingerprints(folder / CONTENTS, remember)
        self._preprocess = preprocess
        self._orient = build_preprocessor(preprocess).orient
        self._report = report

    def find_all(self, cases: Sequence[TrainingCase]) -> dict[int, StoredVolume]:
        """Find the cases that are in the cache, and report the space that all of them take.

        Nothing is decoded or written. Cases that cannot be read are treated as missing.

        Returns:
            Volumes by the index of their case.

        Raises:
            ConfigError: If the other cases do not fit on the disk.
            OutputError: If the file system of the cache does not answer.
        """
        # Measured before the search: what others write in the meantime is then free and stored.
        free = free_bytes(self.folder)
        found: dict[int, StoredVolume] = {}
        missing: list[int | None] = []
        for index, case in enumerate(cases):
            volume = self._find(case)
            if volume is None:
                missing.append(self._future_bytes(case))
            else:
                found[index] = volume
        stored = [entry_bytes(volume.shape) for volume in found.values()]
        space = CacheSpace(self.folder, stored, missing, free)
        for line in filter(None, (space.line, earlier_entries(self.folder))):
            self._report(line)
        if space.problem is not None:
            raise space.problem
        return found

    def load(self, case: TrainingCase, wait: bool) -> StoredVolume | None:
        """Load a case, and decode it if needed; ``None`` while another process decodes it.

        Args:
            case: Case to load.
            wait: True to wait for the other process.

        Raises:
            InputError: If the volume is damaged or refused.
            OutputError: If the volume cannot be written to the cache.
        """
        key = self._key(case)
        found = self._stored(key)
        if found is not None:
            return found
        with self._cache.writing(key, wait=False) as mine:
            if mine:
                return self._made(case, key)
        if not wait:
            return None
        self._report(f"{case.key}: waiting for another process to write it to the cache")
        with self._cache.writing(key, wait=True):
            return self._made(case, key)

    def _find(self, case: TrainingCase) -> StoredVolume | None:
        with suppress(InputError, NoInputError):
            return self._stored(self._key(case))
        return None

    def _stored(self, key: str) -> StoredVolume | None:
        with suppress(DamagedEntryError):
            return self._cache.find(key)
        return None

    def _future_bytes(self, case: TrainingCase) -> int | None:
        with suppress(InputError, NoInputError):
            grid = case.header_grid()
            if grid is not None:
                return entry_bytes(oriented_shape(grid, self._preprocess))
        return None

    def _made(self, case: TrainingCase, key: str) -> StoredVolume:
        try:
            # Another process may have written it in the meantime.
            found = self._cache.find(key)
        except DamagedEntryError as error:
            self._report(f"{case.key}: its entry in the cache is written again: {error.cause}")
            found = None
        if found is None:
            found = self._cache.put(key, self._orient(case.load()))
        return found

    def _key(self, case: TrainingCase) -> str:
        content = self._fingerprints.of(case.files) if case.files else ""
        return entry_key(
            content, case.recipe, self._preprocess.axcodes, self._preprocess.spacing_mm
        )
