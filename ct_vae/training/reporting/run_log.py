"""``metrics.jsonl``: one line per logged step, each complete or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ct_vae.io.atomic.file import write_text, writing_failed
from ct_vae.io.folders import make_folders

METRICS = "metrics.jsonl"


class NoLog:
    """Log without output, for ranks that do not write."""

    def write(self, values: Mapping[str, float | int | str | None]) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""


class RunLog:
    """Appends JSON lines to a file.

    A line is written in one system call. If the disk is full, a partial line is removed, so that
    every line of the file can be parsed at any time.

    Args:
        path: The file; it is created together with its folder. An unfinished last line, as after a
            power loss, is removed.

    Raises:
        OutputError: If the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            make_folders(path.parent)
            # Do not follow a link, whose target would be overwritten.
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

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, values: Mapping[str, float | int | str | None]) -> None:
        """Append one line."""
        try:
            self._append((json.dumps(values, allow_nan=False) + "\n").encode())
        except OSError as error:
            writing_failed(self._path, error)

    def sync(self) -> None:
        """Flush all lines to the disk, so that no checkpoint is newer than the log.

        Raises:
            OutputError: If the file cannot be synced.
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
            # If this fails, `read_log` ignores the line, and the next start removes it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, without an unfinished last line."""
    if not path.is_file():
        return []
    lines = path.read_bytes()[: _whole_lines(path)].splitlines()
    return [json.loads(line) for line in lines]


def rewind_log(path: Path, samples_seen: int, validated: bool) -> None:
    """Remove the lines that a run resumed from ``samples_seen`` writes again.

    Args:
        path: The log.
        samples_seen: Samples seen at the checkpoint.
        validated: True to keep the validation at ``samples_seen``.

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
    """Return True if a line of the log is a validation, not a step or an event."""
    return any(name.startswith("val_") for name in line)


def _whole_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1
