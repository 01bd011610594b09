"""Cases one after the other, the next being read and the last being written meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ct_vae.batch.failures import FailureList
from ct_vae.batch.lease import Leases
from ct_vae.batch.run_batch import concerns_all
from ct_vae.errors import ConfigError, CtVaeError, StoppedError
from ct_vae.io.search.cases import Case

Given = TypeVar("Given")
Made = TypeVar("Made")

# What reading ahead may take of the memory that is left; the network needs the rest.
_SHARE_OF_READING = 0.25


@dataclass(frozen=True)
class Kept:
    """A case of which nothing has to be made; the line says why."""

    line: str


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
    """

    target: Callable[[Case], Path]
    read: Callable[[Case], Given]
    make: Callable[[Case, Given, int], Made | Kept]
    write: Callable[[Case, Made], str]
    read_bytes: Callable[[Case], int | None]
    write_bytes: Callable[[Made], int]
    room: Callable[[], int]


class Pipeline(Generic[Given, Made]):
    """Does cases; no more than one is read ahead, no more than one waits to be written.

    Other processes at the same cases are kept off each by a lease, from before it is read until
    it is written; a case that another one holds is left to it.

    Args:
        work: The three parts.
        failures: Takes the cases that are refused.
        report: Takes a line about each case, from any thread.
        stopped: Name of the signal that has asked to stop, if one has.
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
        self._ahead: tuple[Case, Future[Given | Kept]] | None = None
        self._writing: tuple[Case, Future[None], int] | None = None

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
                if name := self._stopped():
                    self._settle()
                    raise StoppedError(
                        f"stopped by {name} after {number} of {len(cases)} cases",
                        "run the same command again for the others",
                    )
                after = cases[number + 1] if number + 1 < len(cases) else None
                self._do(case, after, f"[{number + 1}/{len(cases)}]")
            self._settle()
        return self._failures.exit_code(len(cases))

    def _do(self, case: Case, after: Case | None, place: str) -> None:
        try:
            given = self._given(case)
            made = given if isinstance(given, Kept) else self._make(case, given, after)
        except CtVaeError as error:
            self._fail(case, error)
            return
        if isinstance(made, Kept):
            self._leases.give_back(self._work.target(case))
            self._report(f"{place} {made.line}")
            return
        self._settle()
        size = self._work.write_bytes(made)
        self._writing = case, self._writer.submit(self._write, case, made, place), size

    def _given(self, case: Case) -> Given | Kept:
        """A case as it was read ahead, or read now."""
        ahead, self._ahead = self._ahead, None
        return ahead[1].result() if ahead is not None else self._read(case)

    def _read(self, case: Case) -> Given | Kept:
        target = self._work.target(case)
        owner = self._leases.take(target)
        return self._work.read(case) if owner is None else Kept(f"{target} is left to {owner}")

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
        self._report(f"{place} {line}")

    def _settle(self) -> None:
        """Wait until the last result is written."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
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
