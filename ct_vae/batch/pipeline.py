"""Pipeline that reads the next case and writes the last one while a case is computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from ct_vae.batch.failures import FailureList
from ct_vae.batch.lease import SILENT_S, Holder, Leases
from ct_vae.batch.run_batch import concerns_all
from ct_vae.batch.summary import Counts
from ct_vae.errors import ConfigError, CtVaeError, StoppedError
from ct_vae.find_volumes.cases import Case
from ct_vae.progress import report_case, report_stage

Given = TypeVar("Given")
Made = TypeVar("Made")

# Time to wait for other processes at the end: at least, and relative to the longest case so far.
_PATIENCE_S = 30.0
_TIMES_AS_LONG = 4.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
# Fraction of the available memory for reading ahead; the network needs the rest.
_SHARE_OF_READING = 0.25


@dataclass(frozen=True)
class Kept:
    """A case that needs no computation, with a line for the user."""

    line: str


class Aside(NamedTuple):
    """A deferred case: its position in the list, and the process that last had its lease."""

    place: str
    holder: Holder


@dataclass(frozen=True)
class Left:
    """A case that another process computes."""

    holder: Holder


@dataclass(frozen=True)
class Work(Generic[Given, Made]):
    """Processing of a case in three parts.

    Attributes:
        target: Returns the path of the result.
        read: Reads the case, in a separate thread.
        make: Computes the result, in the caller's thread. The last argument is the host memory in
            bytes that reading and writing may take meanwhile.
        write: Writes the result, in a separate thread, and returns a line for the user.
        read_bytes: Returns the peak memory of reading a case; ``None`` if unknown, in which case it
            is not read ahead.
        write_bytes: Returns the peak memory of writing a result, without the result.
        room: Returns the available host memory in bytes.
        kept: Decides before reading if an existing result can be kept; ``None`` if results have no
            records.
    """

    target: Callable[[Case], Path]
    read: Callable[[Case], Given]
    make: Callable[[Case, Given, int], Made | Kept]
    write: Callable[[Case, Made], str]
    read_bytes: Callable[[Case], int | None]
    write_bytes: Callable[[Made], int]
    room: Callable[[], int]
    kept: Callable[[Case], Kept | None] | None = None


class Pipeline(Generic[Given, Made]):
    """Processes cases; at most one is read ahead, and at most one is being written.

    A lease keeps other processes from a case, from before it is read until it is written. A case
    that another process has is deferred: at the end, this process waits for it, and processes it if
    the other process has ended without a result.

    Args:
        work: Processing of a case.
        failures: List of failed cases.
        report: Called with a line for each case, from any thread.
        stopped: Returns the name of the signal that requested a stop, or ``None``.

    Attributes:
        counts: Number of finished cases.
    """

    def __init__(
        self,
        work: Work[Given, Made],
        failures: FailureList,
        report: Callable[[str], None],
        stopped: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._work, self._failures = work, failures
        self._report, self._stopped = report, stopped
        self._leases = Leases()
        self._reader, self._writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._ahead: tuple[Case, Future[Given | Kept | Left]] | None = None
        self._writing: tuple[Case, Future[None], int] | None = None
        self._aside: dict[Case, Aside] = {}
        self._longest_s = 0.0
        self.counts = Counts()

    def run(self, cases: Sequence[Case]) -> int:
        """Process all cases.

        Returns:
            Exit code, as of `FailureList.exit_code`.

        Raises:
            OutputError: If results cannot be written, so that later cases would fail too.
            ConfigError: If settings are invalid, which are the same for all cases.
            StoppedError: If a signal was received; the current case is finished first.
        """
        with self._leases, self._reader, self._writer:
            for number, case in enumerate(cases):
                self._stop_if_asked(f"after {number} of {len(cases)} cases")
                after = cases[number + 1] if number + 1 < len(cases) else None
                report_case(number + 1, len(cases), case.key)
                self._do(case, after, f"[{number + 1}/{len(cases)}]")
            self._settle()
            self._wait_for_others()
        return self._failures.exit_code(len(cases))

    def _stop_if_asked(self, where: str) -> None:
        if name := self._stopped():
            self._settle()
            raise StoppedError(
                f"stopped by {name} {where}", "run the same command again for the others"
            )

    def _do(self, case: Case, after: Case | None, place: str) -> None:
        started = time.monotonic()
        try:
            given = self._given(case)
            made = given if isinstance(given, Kept | Left) else self._make(case, given, after)
        except CtVaeError as error:
            self._fail(case, error)
            return
        self._longest_s = max(self._longest_s, time.monotonic() - started)
        if isinstance(made, Left):
            self._aside[case] = Aside(place, made.holder)
            self._report(f"{place} {self._work.target(case)} is left to {made.holder} for now")
            return
        if isinstance(made, Kept):
            self._keep(case, place, made.line)
            return
        self._settle()
        size = self._work.write_bytes(made)
        self._writing = case, self._writer.submit(self._write, case, made, place), size

    def _keep(self, case: Case, place: str, line: str) -> None:
        self._leases.give_back(self._work.target(case))
        self.counts.kept += 1
        self._report(f"{place} {line}")

    def _given(self, case: Case) -> Given | Kept | Left:
        """Return a case that was read ahead, or read it now."""
        report_stage("reading")
        ahead, self._ahead = self._ahead, None
        return ahead[1].result() if ahead is not None else self._read(case)

    def _read(self, case: Case) -> Given | Kept | Left:
        holder = self._leases.take(self._work.target(case))
        if holder is not None:
            return Left(holder)
        kept = self._work.kept(case) if self._work.kept is not None else None
        return self._work.read(case) if kept is None else kept

    def _make(self, case: Case, given: Given, after: Case | None) -> Made | Kept:
        reserved = self._read_ahead(after) if after is not None else 0
        if self._writing is not None and not self._writing[1].done():
            reserved += self._writing[2]
        try:
            return self._work.make(case, given, reserved)
        except ConfigError:
            if not reserved:
                raise
        # The memory may still be sufficient without reading and writing in parallel.
        self._settle()
        self._forget_ahead()
        return self._work.make(case, given, 0)

    def _read_ahead(self, case: Case) -> int:
        """Start reading a case if there is enough memory; return its peak memory."""
        size = None
        # An invalid header is reported later, when the case is read.
        with suppress(CtVaeError):
            size = self._work.read_bytes(case)
        if size is None or size > _SHARE_OF_READING * self._work.room():
            return 0
        self._ahead = case, self._reader.submit(self._read, case)
        return size

    def _forget_ahead(self) -> None:
        """Discard the case that was read ahead; it is read again later."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead[1].exception()
            self._leases.give_back(self._work.target(ahead[0]))

    def _write(self, case: Case, made: Made, place: str) -> None:
        line = self._work.write(case, made)
        self._leases.give_back(self._work.target(case))
        self.counts.done += 1
        self._report(f"{place} {line}")

    def _settle(self) -> None:
        """Wait until the last result has been written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        if not writing[1].done():
            report_stage("writing")
        try:
            writing[1].result()
        except CtVaeError as error:
            self._fail(writing[0], error)

    def _fail(self, case: Case, error: CtVaeError) -> None:
        self._leases.give_back(self._work.target(case))
        if concerns_all(error):
            raise error
        self._failures.add(case, error)
        self._report(f"error: {error}")

    def _wait_for_others(self) -> None:
        """Wait for deferred cases until they are finished or their holders take too long.

        The limit is a multiple of the longest time for a case in this process.
        """
        if self._aside:
            self._report(f"waiting for {len(self._aside)} cases of other processes")
            report_stage("waiting for other processes")
        pause, deadline = _SHORTEST_PAUSE_S, self._deadline()
        while self._aside and time.monotonic() < deadline:
            found = [case for case in self._aside if self._see_to(case)]
            self._settle()
            for case in found:
                del self._aside[case]
            if found:
                pause, deadline = _SHORTEST_PAUSE_S, self._deadline()
            elif self._aside:
                self._stop_if_asked(f"while {len(self._aside)} cases were left to other processes")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        for case, aside in self._aside.items():
            self._failures.add_left(case, str(aside.holder))

    def _see_to(self, case: Case) -> bool:
        """Process a deferred case if its holder has ended; return True if it is finished."""
        target, aside = self._work.target(case), self._aside[case]
        holder = self._leases.take(target)
        if holder is not None:
            self._aside[case] = Aside(aside.place, holder)
            return False
        # Records of results are more reliable than the times of files.
        if self._work.kept is None and aside.holder.has_written(target):
            self._keep(case, aside.place, f"{target} was made by {aside.holder}")
        else:
            self._do(case, None, aside.place)
        return True

    def _deadline(self) -> float:
        own = _PATIENCE_S + _TIMES_AS_LONG * self._longest_s
        watched = any(not aside.holder.locked for aside in self._aside.values())
        return time.monotonic() + (max(own, SILENT_S + _LONGEST_PAUSE_S) if watched else own)
