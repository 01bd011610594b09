"""State of a batch of encoding: which cases are done, failed, running and left."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ct_vae.batch.failures import find_lists
from ct_vae.batch.lease import is_running, lease_path
from ct_vae.batch.remote_output import remote_lists
from ct_vae.errors import NoInputError
from ct_vae.find_volumes.cases import Case
from ct_vae.io.latent.layout import LATENT_ENDINGS
from ct_vae.io.latent.read_latent import whole_record
from ct_vae.io.latent.record import record_path
from ct_vae.io.remote import canonical_url, is_url, list_files
from ct_vae.io.temporary import make_temporary_folder
from ct_vae.progress import report_fraction, report_stage


@dataclass
class BatchStatus:
    """State of the cases of a batch.

    Attributes:
        done: Cases with a complete latent.
        failed: Cause of the failure of each failed case.
        running: Cases that a process is working on.
        left: All other cases.
        unread: Cause of each input that is not a case, such as a damaged archive.
    """

    done: list[Case] = field(default_factory=list)
    failed: dict[Case, str] = field(default_factory=dict)
    running: list[Case] = field(default_factory=list)
    left: list[Case] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def retry(self) -> list[Case]:
        """Cases to process again: those that failed and those that are left."""
        return [*self.failed, *self.left]

    def line(self) -> str:
        """Summarize the state in one line."""
        total = len(self.done) + len(self.failed) + len(self.running) + len(self.left)
        counts = {
            "done": len(self.done),
            "failed": len(self.failed),
            "running": len(self.running),
            "left": len(self.left),
            "not read": len(self.unread),
        }
        shown = ", ".join(f"{n} {name}" for name, n in counts.items() if n or name == "done")
        return f"{shown} of {total} cases"

    def facts(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "done": [case.key for case in self.done],
            "failed": {case.key: cause for case, cause in self.failed.items()},
            "running": [case.key for case in self.running],
            "left": [case.key for case in self.left],
            "not_read": self.unread,
        }


def batch_status(folder: str | Path, cases: Sequence[Case]) -> BatchStatus:
    """Find the state of every case of ``encode``, without changing anything.

    A latent is done if it agrees with the checksum in its record. Whether it belongs to the model
    and to the present voxels is checked by ``encode``, which makes it again if not. In a folder at
    a URL, a latent is done if it has a record, since that is uploaded last.

    Args:
        folder: Output folder of ``encode``, or its URL.
        cases: All cases of the batch.

    Raises:
        InputError: If the folder is at a URL that cannot be reached or read.
    """
    results: _Results = _Local(Path(folder)) if not is_url(folder) else _Remote(str(folder))
    status, causes = BatchStatus(), results.causes()
    report_stage("checking latents", len(cases), "cases")
    for number, case in enumerate(cases, 1):
        names = [f"{case.key}{ending}" for ending in LATENT_ENDINGS]
        cause = causes.pop(case.source, None)
        if any(map(results.is_running, names)):
            status.running.append(case)
        elif any(map(results.is_done, names)):
            status.done.append(case)
        elif cause is not None:
            status.failed[case] = cause
        else:
            status.left.append(case)
        report_fraction(number / len(cases))
    status.unread = causes
    return status


class _Results(Protocol):
    """Folder of results."""

    def causes(self) -> dict[str, str]:
        """Return the cause of every failure, by path."""

    def is_running(self, name: str) -> bool:
        """Return True if a process is working on a latent."""

    def is_done(self, name: str) -> bool:
        """Return True if a latent is complete."""


class _Local:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def causes(self) -> dict[str, str]:
        return _causes(self._folder)

    def is_running(self, name: str) -> bool:
        return is_running(lease_path(self._folder / name))

    def is_done(self, name: str) -> bool:
        path = self._folder / name
        return os.path.exists(path) and whole_record(path) is not None  # noqa: PTH110


class _Remote:
    def __init__(self, url: str) -> None:
        self._url = canonical_url(url)
        try:
            files = list_files(f"{self._url}/")
        except NoInputError:
            files = []
        self._names = {file.url.removeprefix(f"{self._url}/") for file in files}

    def causes(self) -> dict[str, str]:
        with make_temporary_folder() as folder:
            for file in remote_lists(self._url):
                file.download(Path(folder))
            return _causes(Path(folder))

    def is_running(self, _: str) -> bool:
        # There are no leases at URLs.
        return False

    def is_done(self, name: str) -> bool:
        return {name, str(record_path(name))} <= self._names


def _causes(folder: Path) -> dict[str, str]:
    """Return the cause of every failure of ``encode`` in the lists of all shards, by path."""
    causes: dict[str, str] = {}
    for path in find_lists(folder):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            try:
                failure = json.loads(line)
                if failure["stage"] == "encode":
                    causes[str(failure["case"])] = str(failure["cause"])
            except (ValueError, KeyError, TypeError, RecursionError):
                # Encoding replaces damaged lists.
                causes[path.name] = "this list of failures is damaged; encode writes it again"
    return causes
