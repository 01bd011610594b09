"""Training cases loaded through a cache of decoded volumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.datasets.cache.fingerprint import CONTENTS, Fingerprints
from ct_vae.datasets.cache.stored_volume import StoredVolume
from ct_vae.datasets.cache.volume_cache import DamagedEntryError, VolumeCache, entry_key
from ct_vae.datasets.sources.case import TrainingCase
from ct_vae.preprocess.pipeline import build_preprocessor


class CachedCases:
    """Loads training cases with one preprocessing through a cache.

    Args:
        folder: Folder of the cache.
        preprocess: Orientation and spacing; other settings do not affect cached HU.
        report: Called with a line for each damaged entry that is written again.
        remember: Whether fingerprints of files are stored in the cache.
    """

    def __init__(
        self,
        folder: Path,
        preprocess: PreprocessConfig,
        report: Callable[[str], None],
        remember: bool = True,
    ) -> None:
        self._cache = VolumeCache(folder)
        self._fingerprints = Fingerprints(folder / CONTENTS, remember)
        self._preprocess = preprocess
        self._orient = build_preprocessor(preprocess).orient
        self._report = report

    def find(self, case: TrainingCase) -> StoredVolume | None:
        """Return the valid entry of a case, or ``None``; nothing is decoded or written.

        Raises:
            InputError: If a file of the case cannot be read.
        """
        try:
            return self._cache.find(self._key(case))
        except DamagedEntryError:
            return None

    def load(self, case: TrainingCase, wait: bool) -> StoredVolume | None:
        """Load a case, and decode it if needed; ``None`` while another process decodes it.

        Args:
            case: Case to load.
            wait: Whether to wait for the other process.

        Raises:
            InputError: If the volume is damaged or refused.
            OutputError: If the volume cannot be written to the cache.
        """
        key = self._key(case)
        try:
            found = self._cache.find(key)
        except DamagedEntryError:
            found = None
        if found is not None:
            return found
        with self._cache.writing(key, wait) as mine:
            return self._made(case, key) if mine else None

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
