"""Progress of a run on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Mapping

from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from ct_vae.config.windows import WINDOWS
from ct_vae.console import SafeConsole
from ct_vae.progress import reporting_to
from ct_vae.terminal import is_quiet, is_warning, printable, say, without_bars
from ct_vae.training.reporting.duration import readable_duration
from ct_vae.training.step_metrics import StepMetrics

_PLAIN_LINE_EVERY_S = 10.0
_CHANNEL = "latent_std_"


class Progress:
    """Shows loss, PSNR, speed and remaining time on standard error.

    The PSNR of the patches of one step is ``20 log10(4024 HU / RMSE)``. Its data range is that of
    CT, [-1024, 3000] HU, for all models, so that they can be compared; patches are clipped to the
    range of the model. Speed and remaining time of a resumed run only consider this process.
    Errors of a lost terminal are ignored, since the run must still be saved.

    Args:
        samples: Length of the run in samples.
        start: Samples seen before this process.
        quiet: Show nothing, as on all ranks except the first. Inside `ct_vae.terminal.quiet`, only
            warnings are shown.
    """

    def __init__(self, samples: int, start: int = 0, quiet: bool = False) -> None:
        self._samples = samples
        self._start = start
        self._quiet, self._warnings_only = quiet, is_quiet()
        self._other_bars = contextlib.ExitStack()
        self._console = SafeConsole(file=sys.stderr, quiet=quiet)
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            disable=quiet or self._warnings_only or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=samples, completed=start, state="")
        self._started = time.monotonic()
        self._last_line = -math.inf

    def __enter__(self) -> Progress:
        self._started = time.monotonic()
        with contextlib.suppress(OSError):
            # A terminal has room for one display at a time.
            self._other_bars.enter_context(without_bars())
            # Stages of a validation would be lines between those of the run.
            self._other_bars.enter_context(reporting_to(None))
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Also if the terminal is gone.
        with contextlib.suppress(OSError), self._other_bars:
            self._bar.stop()

    def show(self, samples_seen: int, values: StepMetrics, hu_per_unit: float) -> None:
        """Report a step; ``hu_per_unit`` converts errors in model units to HU."""
        elapsed = max(time.monotonic() - self._started, 1e-9)
        pace = (samples_seen - self._start) / elapsed
        left = (self._samples - samples_seen) / pace if pace else math.inf
        speed = f"{pace:.3g} samples/s, {readable_duration(left)} left"
        state = f"loss {values.loss:.4f}, {_psnr(values.mse, hu_per_unit)}"
        with contextlib.suppress(OSError):
            self._bar.update(self._task, completed=samples_seen, state=f"{state}, {speed}")
        plain = not self._console.is_terminal and not self._warnings_only
        if plain and elapsed - self._last_line >= _PLAIN_LINE_EVERY_S:
            self._last_line = elapsed
            details = _details(values, hu_per_unit)
            self.say(f"{samples_seen}/{self._samples} samples, {state}, {details}, {speed}")

    def note(self, samples_seen: int, metrics: Mapping[str, float]) -> None:
        """Report a validation, without single channels of the latent."""
        shown = {n.removeprefix("val_"): v for n, v in metrics.items() if _CHANNEL not in n}
        text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.say(f"{samples_seen}/{self._samples} samples, validation: {text}")

    def say(self, text: str) -> None:
        """Report a message in one line."""
        if self._quiet or (self._warnings_only and not is_warning(text)):
            return
        with contextlib.suppress(OSError):
            if not self._bar.live.is_started:
                # Another display may be on the terminal.
                say(text)
                return
            self._console.print(Text(printable(text)), soft_wrap=True)


def _psnr(mse: float, hu_per_unit: float) -> str:
    rmse, width = math.sqrt(mse) * hu_per_unit, WINDOWS["full"].width
    return f"PSNR {20 * math.log10(width / rmse) if rmse else math.inf:.1f} dB of {width:g} HU"


def _details(values: StepMetrics, hu_per_unit: float) -> str:
    parts = {"MAE": f"{values.mae * hu_per_unit:.1f} HU"}
    for group in (values.losses, values.codes, values.discriminator):
        parts |= {name.replace("_", " "): f"{value:.3g}" for name, value in group.items()}
    return ", ".join(f"{name} {value}" for name, value in parts.items())
