"""Processes that measure rows, each within a limit of time, and the report that keeps them."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Begins a line with a row.
MARK = "ROW "
# Exit status of a process after a row that made it useless.
RESTART = 3
# Seconds that a process may take to import its libraries, and that are worth a new process.
_START_S, _LEAST_S = 90.0, 5.0


@dataclass
class Report:
    """All that is known so far, in a JSON file after every change.

    Attributes:
        path: File.
        content: Conditions, tests and rows.
    """

    path: Path
    content: dict[str, Any] = field(default_factory=lambda: {"rows": []})

    def add(self, **values: Any) -> None:
        """Set values and write the file."""
        self.content |= values
        self._write()

    def add_row(self, row: dict[str, Any]) -> None:
        """Add a row, print it, and write the file."""
        self.content["rows"].append(row)
        self._write()
        print(_line(row), flush=True)

    def _write(self) -> None:
        unfinished = self.path.with_name(self.path.name + ".tmp")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)


def _line(row: dict[str, Any]) -> str:
    figures = {k: v for k, v in row.items() if isinstance(v, int | float | str) and k != "row"}
    numbers = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
    return f"{row['row']}: {', '.join(numbers) or 'measured'}"


class Worker:
    """Process that measures rows; its lines are read with a limit of time.

    Args:
        command: Command of the process.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def next_row(self, limit: float) -> dict[str, Any] | None:
        """Return the next row, or ``None`` if the process ended.

        Raises:
            TimeoutError: If that takes longer than ``limit`` seconds.
        """
        end = time.monotonic() + limit
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError from None
            if line is None:
                return None
            if line.startswith(MARK):
                row: dict[str, Any] = json.loads(line[len(MARK) :])
                return row

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def measure_rows(
    command: Sequence[str], limits: dict[str, float], deadline: float, report: Report
) -> None:
    """Measure rows in one process after the other until all are done or time is over.

    Args:
        command: Command of a process, to which names of rows are added.
        limits: Most seconds of each row, in order.
        deadline: Time of `time.monotonic` at which everything ends.
        report: Report of the rows.
    """
    names = list(limits)
    while names and deadline - time.monotonic() > _LEAST_S:
        worker = Worker([*command, *names])
        _measure_some(worker, names, limits, deadline, report)
        worker.end()
    for name in names:
        report.add_row({"row": name, "failed": "not begun: the time was over"})


def _measure_some(
    worker: Worker, names: list[str], limits: dict[str, float], deadline: float, report: Report
) -> None:
    """Measure rows until the process ends or one takes too long; remove them from ``names``."""
    started, limit = False, _START_S
    while names:
        limit = min(limit, max(0.1, deadline - time.monotonic()))
        row, failed = None, ""
        try:
            row = worker.next_row(limit)
        except TimeoutError:
            failed = f"took more than {limit:.0f} s"
        if row is None and not failed:
            status = worker.process.wait()
            if started and status == RESTART:
                return
            failed = f"the process ended with status {status}"
        if failed:
            where = "" if started else "at the start: "
            report.add_row({"row": names.pop(0), "failed": where + failed})
            return
        if started and row is not None:
            report.add_row(row)
            names.pop(0)
        started, limit = True, limits[names[0]] if names else 0.0
