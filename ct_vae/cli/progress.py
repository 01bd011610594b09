"""Progress of commands: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ct_vae import terminal
from ct_vae.progress import report_stage, reporting_to

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID
    from rich.text import Text

    from ct_vae.console import SafeConsole

# A plain line is printed if a case takes longer than this.
_PLAIN_LINE_EVERY_S = 30.0
_NAME_WIDTH = 40

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.")
]


def with_progress(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option ``--quiet`` to a command, and display its progress.

    The command, and all that it calls, reports progress by `ct_vae.progress`.
    """

    @wraps(command)
    def wrapper(*, quiet: bool, **given: Any) -> None:
        with displayed_progress(quiet):
            command(**given)

    own = list(signature(command, eval_str=True).parameters.values())
    added = Parameter("quiet", Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    keywords = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own] + [added]
    wrapper.__signature__ = signature(command).replace(parameters=keywords)  # type: ignore[attr-defined] # typer reads it
    wrapper.__annotations__ = {each.name: each.annotation for each in keywords}
    return wrapper


@contextmanager
def displayed_progress(quiet: bool = False) -> Iterator[None]:
    """Display the progress reported in the block, on standard error.

    Args:
        quiet: Display nothing, and print no messages but warnings and errors.
    """
    with terminal.quiet() if quiet else _display():
        report_stage("starting")
        yield


def _display() -> AbstractContextManager[None]:
    return _bars() if terminal.shows_bars() else reporting_to(PlainLines())


class PlainLines:
    """Progress as lines, for cases that take long."""

    def __init__(self) -> None:
        self._place = self._name = ""
        self._stage = ""
        self._last_line = time.monotonic()

    def case(self, number: int, total: int, name: str) -> None:
        """Remember the case."""
        self._place, self._name = f"[{number}/{total}] ", f"{name}: "
        self._last_line = time.monotonic()

    def stage(self, name: str, size: int | None, unit: str) -> None:
        """Print a line if the last one is old."""
        amount, scaled = _scaled(size or 0, unit)
        self._stage = f"{name} {amount:.3g} {scaled}" if size else name
        self._line("")

    def fraction(self, value: float) -> None:
        """Print a line if the last one is old."""
        self._line(f" {value:.0%}")

    def _line(self, done: str) -> None:
        now = time.monotonic()
        if now - self._last_line >= _PLAIN_LINE_EVERY_S:
            self._last_line = now
            terminal.say(f"{self._place}{self._name}{self._stage}{done}")


class Bars:
    """Progress as bars: one for all cases, and one for the stage of the current case."""

    def __init__(self) -> None:
        self.display, self.console = _make_display()
        self._stage: TaskID | None = None
        self._cases: TaskID | None = None
        self._size = 0.0
        self._name = ""

    def case(self, number: int, total: int, name: str) -> None:
        """Advance the bar of all cases."""
        shown = terminal.printable(name)
        self._name = f"{shown if len(shown) <= _NAME_WIDTH else f'{shown[:_NAME_WIDTH]}…'}: "
        if total == 1:
            return
        done = f"{number - 1}/{total}"
        if self._cases is None:
            # Bars are displayed in the order in which they are added.
            self._end_stage()
            self._cases = self.display.add_task("all cases", total=total, unit="cases", done=done)
        self.display.update(self._cases, completed=number - 1, done=done)

    def stage(self, name: str, size: int | None, unit: str) -> None:
        """Start the bar of a stage."""
        self._end_stage()
        self._size, unit = _scaled(size or 0, unit)
        total = self._size if size else None
        self._stage = self.display.add_task(self._name + name, total=total, unit=unit, done="")

    def fraction(self, value: float) -> None:
        """Advance the bar of the stage."""
        if self._stage is not None:
            completed = value * self._size
            self.display.update(self._stage, completed=completed, done=f"{value:.0%}")

    def _end_stage(self) -> None:
        if self._stage is not None:
            self.display.remove_task(self._stage)
        self._stage = None


@contextmanager
def _bars() -> Iterator[None]:
    bars = Bars()

    def print_above(line: str) -> None:
        bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def hidden() -> Iterator[None]:
        bars.display.stop()
        try:
            yield
        finally:
            bars.display.start()

    with bars.display, terminal.printing_by(print_above, hidden), reporting_to(bars):
        yield


def _make_display() -> tuple[Progress, SafeConsole]:
    """Return a display with a bar, speed, elapsed and remaining time for each task."""
    from rich import progress
    from rich.text import Text

    from ct_vae.console import SafeConsole

    class Rate(progress.ProgressColumn):
        """Average speed in the unit of the task."""

        def render(self, task: Task) -> Text:
            return Text(_rate(task))

    class Remaining(progress.ProgressColumn):
        """Remaining time at the average speed."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            return Text(_remaining(task))

    console = SafeConsole(stderr=True)
    display = progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=30),
        progress.TextColumn("{task.fields[done]}"),
        Rate(),
        progress.TimeElapsedColumn(),
        Remaining(),
        console=console,
        transient=True,
        redirect_stdout=False,
    )
    return display, console


def _rate(task: Task) -> str:
    if not task.completed or not task.elapsed:
        return ""
    speed = task.completed / task.elapsed
    if task.fields["unit"] == "cases":
        # Cases take from a fraction of a second to minutes.
        return f"{60 * speed:.3g} cases/min"
    return f"{speed:.3g} {task.fields['unit']}/s"


def _remaining(task: Task) -> str:
    if not task.completed or not task.elapsed or task.remaining is None:
        return ""
    return f"{timedelta(seconds=int(task.remaining * task.elapsed / task.completed))} left"


def _scaled(size: int, unit: str) -> tuple[float, str]:
    """Return a size in millions if it counts voxels, with its unit."""
    return (size / 1e6, "Mvoxel") if unit == "voxels" else (float(size), unit)
