"""Cases one after the other, the next being read and the last being written meanwhile."""

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
from ct_vae.io.search.cases import Case
from ct_vae.progress import report_case, report_stage

Given = TypeVar("Given")
Made = TypeVar("Made")

# How long other processes are waited for at the end: at least, and by the longest of our own cases.
_PATIENCE_S = 30.0
_TIMES_AS_LONG = 4.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
# What reading ahead may take of the memory that is left; the network needs the rest.
_SHARE_OF_READING = 0.25


@dataclass(frozen=True)
class Kept:
    """A case of which nothing has to be made; the line says why."""

    line: str


class Aside(NamedTuple):
    """A case put aside: its place in the list, and who was last seen at it."""

    place: str
    holder: Holder


@dataclass(frozen=True)
class Left:
    """A case that another process is at work on."""

    holder: Holder


@dataclass(frozen=True)
class Work(Generic[Given, Made]):
    """What is done with a case, in three parts.

    Attributes:
        target: Where its result goes.
        read: Reads it, in a thread of its own.
        make: Computes the result, in the caller's thread. The number is of bytes of host memory
            that reading and writing may take meanwhile.
        write: Writes the result, in a thread of its own; gives the line to be told.
        read_bytes: Most memory that reading a case takes and leaves; ``None`` if nobody knows
            before, and it is not read ahead then.
        write_bytes: Most memory that writing a result takes beside the result.
        room: Bytes of host memory that may still be taken.
        kept: Says, before a case is read, whether its result is there and need not be made again;
            ``None`` where nothing vouches for results.
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
    """Does cases; no more than one is read ahead, no more than one waits to be written.

    Other processes at the same cases are kept off each by a lease, from before it is read until
    it is written. A case that another one holds is put aside: at the end, it is waited for and
    done after all if the other process has ended without doing it.

    Args:
        work: The three parts.
        failures: Takes the cases that are refused.
        report: Takes a line about each case, from any thread.
        stopped: Name of the signal that has asked to stop, if one has.

    Attributes:
        counts: Cases that are done so far.
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
        """Do every case.

        Returns:
            Exit code, as of `FailureList.exit_code`.

        Raises:
            OutputError: If results cannot be written; the cases after it would meet the same fate.
            ConfigError: If settings do not work; they are the same for all cases.
            StoppedError: If a signal came; the case that was begun is finished and written.
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
        """A case as it was read ahead, or read now."""
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
        beside = self._read_ahead(after) if after is not None else 0
        if self._writing is not None and not self._writing[1].done():
            beside += self._writing[2]
        try:
            return self._work.make(case, given, beside)
        except ConfigError:
            if not beside:
                raise
        # The memory may still do for one case alone.
        self._settle()
        self._forget_ahead()
        return self._work.make(case, given, 0)

    def _read_ahead(self, case: Case) -> int:
        """Begin to read a case if the memory allows; what it may take."""
        size = None
        # A header that is refused is told when it is the case's turn.
        with suppress(CtVaeError):
            size = self._work.read_bytes(case)
        if size is None or size > _SHARE_OF_READING * self._work.room():
            return 0
        self._ahead = case, self._reader.submit(self._read, case)
        return size

    def _forget_ahead(self) -> None:
        """Let go of what was read ahead; it is read again in its turn."""
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
        """Wait until the last result is written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        if not writing[1].done():
            report_stage(f"writing the result of {writing[0].key}")
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
        """See to the cases that were put aside, until each is done or its holder takes too long.

        Another process is given several times as long as the longest case has taken here.
        """
        if self._aside:
            self._report(f"waiting for {len(self._aside)} cases that other processes are at")
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
        """Do a case that was put aside if its holder is gone; whether that settles it."""
        target, aside = self._work.target(case), self._aside[case]
        holder = self._leases.take(target)
        if holder is not None:
            self._aside[case] = Aside(aside.place, holder)
            return False
        # Where results have records, these tell more than the time of a file.
        if self._work.kept is None and aside.holder.has_written(target):
            self._keep(case, aside.place, f"{target} was made by {aside.holder}")
        else:
            self._do(case, None, aside.place)
        return True

    def _deadline(self) -> float:
        own = _PATIENCE_S + _TIMES_AS_LONG * self._longest_s
        watched = any(not aside.holder.locked for aside in self._aside.values())
        return time.monotonic() + (max(own, SILENT_S + _LONGEST_PAUSE_S) if watched else own)
