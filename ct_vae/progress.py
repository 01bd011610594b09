"""Progress of long work: the code that does the work reports it, a command displays it.

Reports go to the listener of the current context, if there is one. Threads started meanwhile, such
as those that read ahead, have a context of their own and report nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Listener(Protocol):
    """Receiver of progress reports."""

    def case(self, number: int, total: int, name: str) -> None:
        """Receive the case that begins: its number from 1, the count of cases, and its name."""

    def stage(self, name: str, size: int | None, unit: str) -> None:
        """Receive the stage that begins, and its size and unit if it reports fractions."""

    def fraction(self, value: float) -> None:
        """Receive the fraction of the stage that is done, from 0 to 1."""


_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)


@contextmanager
def reporting_to(listener: Listener | None) -> Iterator[None]:
    """Send the reports of the block to a listener; ``None`` ignores them."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report_case(number: int, total: int, name: str) -> None:
    """Report the start of a case.

    Args:
        number: Number of the case, from 1.
        total: Number of cases.
        name: Name to display.
    """
    if (listener := _listener.get()) is not None:
        listener.case(number, total, name)


def report_stage(name: str, size: int | None = None, unit: str = "voxels") -> None:
    """Report the start of a stage.

    Args:
        name: Name of the stage, such as ``encoding``.
        size: Size of the work, if `report_fraction` follows; optional.
        unit: Unit of the size, as a plural noun; defaults to ``voxels``.
    """
    if (listener := _listener.get()) is not None:
        listener.stage(name, size, unit)


def report_fraction(value: float) -> None:
    """Report the fraction of the current stage that is done, from 0 to 1."""
    if (listener := _listener.get()) is not None:
        listener.fraction(value)
