"""What a person sees of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ct_vae.training.step import StepValues

_PLAIN_LINE_EVERY_S = 10.0


class Progress:
    """Shows loss, error in HU, pace and time left; everything goes to standard error.

    Args:
        samples: Length of the run.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._console = Console(file=sys.stderr)
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=samples, state="")
        self._started = time.monotonic()
        self._last_line = -math.inf

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, samples_seen: int, values: StepValues, hu_per_unit: float) -> None:
        """Report a step; ``hu_per_unit`` turns the error into HU."""
        elapsed = time.monotonic() - self._started
        pace = samples_seen / elapsed
        told = {**values.regularisers, **values.codes}
        latent = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in told.items())
        state = (
            f"loss {values.loss:.4f}, MAE {values.mae * hu_per_unit:.1f} HU, "
            f"{latent}, {pace:.1f} samples/s"
        )
        self._bar.update(self._task, completed=samples_seen, state=state)
        if not self._console.is_terminal and elapsed - self._last_line >= _PLAIN_LINE_EVERY_S:
            self._last_line = elapsed
            left = (self._samples - samples_seen) / pace
            self._line(f"{samples_seen}/{self._samples} samples, {state}, {left:.0f} s left")

    def note(self, samples_seen: int, metrics: Mapping[str, float]) -> None:
        """Report a validation."""
        text = ", ".join(f"{name} {value:.1f}" for name, value in metrics.items())
        self._line(f"{samples_seen}/{self._samples} samples, validation: {text}")

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
