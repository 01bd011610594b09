"""Inputs found by a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ct_vae.errors import CtVaeError, renamed_error
from ct_vae.find_volumes.left_out import LeftOut
from ct_vae.io.dicom.scan import FoundSeries
from ct_vae.io.read_options import ReadOptions
from ct_vae.io.remote import RemoteFile
from ct_vae.io.temporary import make_temporary_folder
from ct_vae.io.volumes import read_volume
from ct_vae.volume import Volume


@dataclass(frozen=True)
class Case:
    """One input volume or latent.

    Attributes:
        path: Path as it was given or found; for a remote case, its URL as a path that does not
            exist.
        key: Path below the given folder, with ``/`` and without suffix, by which outputs mirror the
            tree of the inputs. The key of a DICOM series is its folder with the series number and a
            hash, such as ``chest/s003_ab12cd34``.
        series: The DICOM series, if the search has found one; ``path`` refers to it too.
        remote: File at a URL; ``None`` for local cases.
    """

    path: Path
    key: str
    series: FoundSeries | None = field(default=None, compare=False, repr=False)
    remote: RemoteFile | None = field(default=None, compare=False)

    @property
    def source(self) -> str:
        """Path or URL of the case, for messages and lists."""
        return str(self.path) if self.remote is None else self.remote.url

    @contextmanager
    def local_path(self) -> Iterator[Path]:
        """Yield the path of a local file, which is downloaded and removed for a remote case.

        Raises:
            NoInputError: If the remote file does not exist.
            InputError: If the download fails, or the code in the context raises it.
        """
        if self.remote is None:
            yield self.path
            return
        with make_temporary_folder() as folder:
            try:
                yield self.remote.download(Path(folder))
            except CtVaeError as error:
                raise renamed_error(error, f"{folder}/{self.remote.name}", self.source) from error

    def read(self, options: ReadOptions | None = None) -> Volume:
        """Read the volume, without another search for a series.

        Raises:
            NoInputError: If the file no longer exists.
            InputError: If the file is damaged or cannot be read correctly.
        """
        if self.series:
            return self.series.read(options)
        with self.local_path() as path:
            return read_volume(path, options)


class FoundCases(list[Case]):
    """Cases in a fixed order, and everything else that the search has found.

    Args:
        cases: Cases to process.
        left_out: Files, series and folders that are not processed.
    """

    def __init__(self, cases: Iterable[Case] = (), left_out: Iterable[LeftOut] = ()) -> None:
        super().__init__(cases)
        self.left_out = list(left_out)


@dataclass(frozen=True)
class SearchResult:
    """Cases of one input path, and everything that is left out."""

    cases: list[Case]
    left_out: list[LeftOut]

    def add(self, other: SearchResult) -> None:
        """Append other findings."""
        self.cases.extend(other.cases)
        self.left_out.extend(other.left_out)

    def below(self, folder: str) -> SearchResult:
        """Return the findings with a folder prepended to the keys."""
        if not folder:
            return self
        cases = [replace(case, key=f"{folder}/{case.key}") for case in self.cases]
        return SearchResult(cases, self.left_out)
