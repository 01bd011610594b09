"""``metrics.jsonl``: one line per logged step, each whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ct_vae.io.atomic.file import write_text, writing_failed
from ct_vae.io.folders import make_folders

METRICS = "metrics.jsonl"


class NoLog:
    """Takes lines and keeps none, for ranks that do not write."""

    def write(self, values: Mapping[str, float | int | str | None]) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""


class RunLog:
    """Appends JSON lines to a file.

    A line goes out in one system call; when the disk takes only a part of it, the part is cut off
    again, so that every line of the file can be parsed at any time.

    Args:
        path: The file; it is created together with its folder. An unfinished last line, left by a
            loss of power, is removed.

    Raises:
        OutputError: If the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            make_folders(path.parent)
            # A link in its place would have what it leads to cut and written to.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o666)
        except OSError as error:
            writing_failed(path, error)
        try:
            os.ftruncate(self._file, _whole_lines(path))
        except OSError as error:
            os.close(self._file)
            writing_failed(path, error)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def write(self, values: Mapping[str, float | int | str | None]) -> None:
        """Append one line."""
        try:
            self._append((json.dumps(values, allow_nan=False) + "\n").encode())
        except OSError as error:
            writing_failed(self._path, error)

    def sync(self) -> None:
        """Bring all lines to the disk, so that no state of the run outlives what led to it.

        Raises:
            OutputError: If that fails.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            writing_failed(self._path, error)

    def _append(self, line: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # What cannot even be cut off is passed over by `read_log`, and cut at the next start.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log in their order; an unfinished last one is left out."""
    if not path.is_file():
        return []
    lines = path.read_bytes()[: _whole_lines(path)].splitlines()
    return [json.loads(line) for line in lines]


def rewind_log(path: Path, samples_seen: int, validated: bool) -> None:
    """Take out of a log what a run tells again when it goes on from ``samples_seen``.

    Args:
        path: The log.
        samples_seen: The run's clock.
        validated: Whether the validation at that very moment stays.

    Raises:
        OutputError: If the log cannot be written.
    """
    kept = [
        line
        for line in read_log(path)
        if line["samples_seen"] < samples_seen
        or (line["samples_seen"] == samples_seen and (validated or not is_validation(line)))
    ]
    write_text(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in kept))


def is_validation(line: Mapping[str, Any]) -> bool:
    """Whether a line of the log tells of a validation, and not of a step or an event."""
    return any(name.startswith("val_") for name in line)


def _whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
