"""Progress of ``scan``: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ct_vae.console import SafeConsole
from ct_vae.terminal import say

_PLAIN_LINE_EVERY_S = 10.0


class ScanProgress:
    """Show the progress of the search and of reading, on standard error."""

    def __init__(self) -> None:
        console = SafeConsole(stderr=True)
        self._plain = not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=self._plain,
        )
        self._task = self._bar.add_task("searching", total=None)
        self._last_line = time.monotonic()

    def __enter__(self) -> ScanProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def looked_into(self, files: int) -> None:
        """Show the number of files searched so far."""
        self._bar.update(self._task, completed=files)
        self._line(f"{files} files searched")

    def begin(self, total: int) -> None:
        """Start reading ``total`` items."""
        self._bar.reset(self._task, description="reading", total=total)
        self._last_line = time.monotonic()

    def did(self, place: int, total: int) -> None:
        """Show the number of items read so far."""
        self._bar.update(self._task, completed=place)
        self._line(f"[{place}/{total}] read", last=place == total)

    def _line(self, text: str, last: bool = False) -> None:
        now = time.monotonic()
        if self._plain and (last or now - self._last_line >= _PLAIN_LINE_EVERY_S):
            self._last_line = now
            say(text)
