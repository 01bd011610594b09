"""Lists of failed cases, and the exit code of a batch."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from ct_vae.batch.shard import Shard
from ct_vae.errors import CtVaeError, InputError, OutputError
from ct_vae.find_volumes.cases import Case
from ct_vae.io.atomic.file import write_text
from ct_vae.io.lock_file import lock

FAILURES = "failures.jsonl"
SEVERAL_FAILED = 8
_AGAIN = "run the same command again once that process has ended"
_LISTS = re.compile(r"failures(_\d+_of_(\d+))?\.jsonl")


@dataclass(frozen=True)
class Failure:
    """A failed case."""

    case: str
    stage: str
    cause: str
    hint: str


class FailureList:
    """``failures.jsonl`` of a folder, or ``failures_<i>_of_<n>.jsonl`` of a shard.

    Entries of other stages are kept. Entries of earlier runs of this stage are removed from this
    list and from those of other divisions into shards.

    Args:
        folder: Folder of the results.
        stage: Name of the stage, such as ``encode``.
        shard: Part of the cases to process.

    Attributes:
        path: Path of the list, which exists once a case has failed.
        left: Keys of the cases that were left to other processes.

    Raises:
        OutputError: If the folder cannot be written to.
    """

    def __init__(self, folder: Path, stage: str, shard: Shard) -> None:
        self._folder, self._stage = folder, stage
        self.path = folder / failures_name(shard)
        self._code = self._count = 0
        self.left: list[str] = []
        self._unread = 0
        with _locked(folder):
            for path in _lists_to_clear(folder, shard):
                _drop(path, lambda failure: failure["stage"] == stage)

    def add(self, case: Case, error: CtVaeError) -> None:
        """Add a failure, replacing an older one of the same case."""
        self._write(Failure(case.source, self._stage, error.cause, error.hint))
        self._code, self._count = error.exit_code, self._count + 1

    def add_left(self, case: Case, holder: str) -> None:
        """Add a case that another process has not finished."""
        cause = f"left to {holder}, which has not finished it"
        self._write(Failure(case.source, self._stage, cause, _AGAIN))
        self.left.append(case.key)

    def add_unread(self, path: Path, cause: str) -> None:
        """Add a file in an unsupported format that the user expects to be read."""
        self._write(Failure(str(path), self._stage, cause, ""))
        self._code, self._count = InputError.exit_code, self._count + 1
        self._unread += 1

    @property
    def count(self) -> int:
        """Number of failed inputs."""
        return self._count

    def _write(self, failure: Failure) -> None:
        with _locked(self._folder):
            kept = _drop(
                self.path, lambda f: (f["stage"], f["case"]) == (self._stage, failure.case)
            )
            write_text(self.path, kept + json.dumps(asdict(failure)) + "\n")

    def exit_code(self, cases: int) -> int:
        """Return 0, the code of the error if the only case failed, or 8 if one of several failed.

        The code is also 8 if another process has not finished a case.
        """
        several = self._count and cases + self._unread > 1
        return SEVERAL_FAILED if self.left or several else self._code


def failures_name(shard: Shard) -> str:
    """Return the name of the list of a shard; ``failures.jsonl`` for all cases."""
    if shard.count == 1:
        return FAILURES
    return f"failures_{shard.index}_of_{shard.count}.jsonl"


def is_failure_list(name: str) -> bool:
    """Return True if a file has the name of a list of failures."""
    return _LISTS.fullmatch(name) is not None


def find_lists(folder: Path) -> list[Path]:
    """Return the lists of failures in a folder, those of all shards."""
    try:
        names = os.listdir(folder) if folder.exists() else []  # noqa: PTH208 - maybe very many
    except OSError:
        return []
    return [folder / name for name in sorted(names) if is_failure_list(name)]


def _lists_to_clear(folder: Path, shard: Shard) -> list[Path]:
    """Return the list of this shard, and those of other divisions; not those of other shards."""
    own = failures_name(shard)
    try:
        names = os.listdir(folder) if folder.exists() else []  # noqa: PTH208 - maybe very many
    except OSError as error:
        _cannot_write(folder, error)
    found = [match for match in map(_LISTS.fullmatch, names) if match]
    return [folder / m[0] for m in found if m[0] == own or int(m[2] or 1) != shard.count]


def _drop(path: Path, unwanted: Callable[[dict[str, Any]], bool]) -> str:
    """Remove lines from a list, and the list if none remain; return the remaining lines."""
    try:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if not unwanted(json.loads(line))]
        if lines and not kept:
            path.unlink(missing_ok=True)
    except OSError as error:
        _cannot_write(path.parent, error)
    except (ValueError, KeyError, TypeError, RecursionError):
        path.unlink(missing_ok=True)
        return ""
    if kept and len(kept) < len(lines):
        write_text(path, "".join(kept))
    return "".join(kept)


def _cannot_write(folder: Path, error: OSError) -> NoReturn:
    raise OutputError(
        f"cannot write into {folder}: {error.strerror}", "choose another folder"
    ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the lists of a folder against changes by other processes, if locks are supported."""
    descriptor = None
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        lock(descriptor, wait=True)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
