"""Results at a URL: staged in a local folder, and uploaded when they are complete."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ct_vae.batch.failures import find_lists, is_failure_list
from ct_vae.batch.pipeline import Kept, Work
from ct_vae.errors import (
    ConfigError,
    CtVaeError,
    InputError,
    NoInputError,
    OutputError,
    renamed_error,
)
from ct_vae.find_volumes.cases import Case
from ct_vae.io.latent.layout import MAISI_ENDING, has_latent_name, sidecar_path
from ct_vae.io.latent.record import record_path
from ct_vae.io.remote import RemoteFile, canonical_url, download, is_url, list_files, remove, upload
from ct_vae.io.temporary import make_temporary_folder

Given = TypeVar("Given")
Made = TypeVar("Made")


class OutputFolder:
    """Folder of the results of a batch: a local one, or a URL with a local folder for staging.

    Args:
        local: The local folder.
        url: URL without a slash at its end; ``None`` if results stay in the local folder.
    """

    def __init__(self, local: Path, url: str | None = None) -> None:
        self.local, self._url = local, url
        self._lists: dict[str, bytes] = {}

    def staged(self, work: Work[Given, Made]) -> Work[Given, Made]:
        """Return the work with existing results downloaded before, and results uploaded after it.

        Args:
            work: Work that reads and writes in the local folder.
        """
        if self._url is None:
            return work
        keep = work.kept

        def kept(case: Case) -> Kept | None:
            assert keep is not None
            self._download(work.target(case))
            found = keep(case)
            if found is not None:
                self._discard(work.target(case))
            return found

        def make(case: Case, given: Given, reserved_bytes: int) -> Made | Kept:
            made = work.make(case, given, reserved_bytes)
            if isinstance(made, Kept):
                # The record has a new stamp of the source.
                self._upload(work.target(case))
            return made

        def write(case: Case, made: Made) -> str:
            line = work.write(case, made)
            self._upload(work.target(case))
            return line

        return replace(work, kept=keep and kept, make=make, write=write)

    def with_urls(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """Return a function that reports lines with URLs instead of local paths."""
        if self._url is None:
            return report
        local, url = f"{self.local}", self._url
        return lambda line: report(line.replace(local, url))

    def check_inputs(self, cases: Iterable[Case], targets: Iterable[Path]) -> None:
        """Check that no result replaces an input.

        Raises:
            ConfigError: If a result has the URL of an input.
        """
        if self._url is None:
            return
        inputs = {case.source for case in cases}
        for url in map(self._url_of, targets):
            if url in inputs:
                raise ConfigError(f"{url}: an input has this URL", "choose another folder for -o")

    def begin(self) -> None:
        """Download the lists of failures, which the batch extends.

        Raises:
            InputError: If the store cannot be reached or denies access.
        """
        for name in self._remote_lists():
            # Another process may remove it at any time.
            with suppress(NoInputError):
                download(f"{self._url}/{name}", self.local / name)
                self._lists[name] = (self.local / name).read_bytes()

    def finish(self) -> None:
        """Upload the lists of failures that changed, and remove those that are empty now.

        Lists of other processes, which may be newer, are left alone.

        Raises:
            OutputError: If the upload fails.
        """
        now = {path.name: path.read_bytes() for path in find_lists(self.local)}
        for name, content in now.items():
            if content != self._lists.get(name):
                upload(self.local / name, f"{self._url}/{name}")
        for name in self._lists.keys() - now.keys():
            remove(f"{self._url}/{name}")

    def renamed(self, error: CtVaeError) -> CtVaeError:
        """Return an error with URLs instead of local paths."""
        return renamed_error(error, str(self.local), str(self._url))

    def _remote_lists(self) -> set[str]:
        return {file.name for file in remote_lists(str(self._url))}

    def _url_of(self, path: Path) -> str:
        return f"{self._url}/{path.relative_to(self.local).as_posix()}"

    def _download(self, target: Path) -> None:
        """Download the files of a result, if there are any."""
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in result_files(target):
            with suppress(NoInputError):
                download(self._url_of(path), path)

    def _upload(self, target: Path) -> None:
        """Upload the files of a result; records follow what they describe."""
        for path in result_files(target):
            if path.exists():
                upload(path, self._url_of(path))
        self._discard(target)

    def _discard(self, target: Path) -> None:
        for path in result_files(target):
            path.unlink(missing_ok=True)


def remote_lists(url: str) -> list[RemoteFile]:
    """Return the lists of failures in a folder at a URL.

    Raises:
        InputError: If the store cannot be reached or denies access.
    """
    try:
        files = list_files(f"{glob.escape(url)}/failures*.jsonl")
    except NoInputError:
        return []
    return [file for file in files if is_failure_list(file.name)]


def result_files(target: Path) -> tuple[Path, ...]:
    """Return the possible files of a result: itself, and the records of a latent after it."""
    if not has_latent_name(target.name):
        return (target,)
    if target.name.endswith(MAISI_ENDING):
        return target, sidecar_path(target), record_path(target)
    return target, record_path(target)


@contextmanager
def opened_output(output: str | Path) -> Iterator[OutputFolder]:
    """Yield the folder of the results of a batch.

    For a URL, the lists of failures are downloaded before and uploaded after the batch, even if it
    fails or is stopped.

    Args:
        output: A local folder, or a URL.

    Raises:
        OutputError: If the store cannot be reached or denies access, or an upload fails.
    """
    if not is_url(output):
        yield OutputFolder(Path(output))
        return
    with make_temporary_folder() as staging:
        folder = OutputFolder(Path(staging), canonical_url(str(output)))
        try:
            folder.begin()
        except InputError as error:
            raise OutputError(error.cause, error.hint) from error
        try:
            yield folder
        except CtVaeError as error:
            # The first error is more useful than one of the same store that follows.
            with suppress(CtVaeError):
                folder.finish()
            raise folder.renamed(error) from error
        folder.finish()
