"""``metrics.jsonl``: one line per logged step, each whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ct_vae.errors import OutputError
from ct_vae.io.atomic import write_text

METRICS = "metrics.jsonl"


class NoLog:
    """Takes lines and keeps none, for ranks that do not write."""

    def write(self, values: Mapping[str, float | int | str | None]) -> None:
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
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            os.ftruncate(self._file, _whole_lines(path))
        except OSError as error:
            raise OutputError(f"{path}: cannot be opened: {error.strerror}") from None

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
        line = (json.dumps(values, allow_nan=False) + "\n").encode()
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(28, "No space left on device")
        except OSError as error:
            os.ftruncate(self._file, size)
            raise OutputError(
                f"{self._path}: cannot be written: {error.strerror}", "free some space"
            ) from None


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
