"""Handling of signals that request a stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """Remembers the first SIGTERM, SIGUSR1, SIGINT or SIGHUP in its block; a second acts at once.

    When a connection drops, both the kernel and the shell send SIGHUP, so later ones are ignored
    inside the block; under ``nohup``, all are. Python handles signals only in the main thread; in
    other threads this does nothing.

    Attributes:
        name: Name of the received signal, or ``None``.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            taken = [s for s in SIGNALS if not (nohup and s == signal.SIGHUP)]
            self._before = {s: signal.signal(s, self._note) for s in taken}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        hangup = self._before.pop(signal.SIGHUP, None) if number == signal.SIGHUP else None
        self._restore()
        if hangup is not None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._before = {signal.SIGHUP: hangup}

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
