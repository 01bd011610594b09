"""Outputs of a run: log file, progress on the terminal, and experiment tracker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ct_vae.training.reporting.progress import Progress
from ct_vae.training.reporting.run_log import NoLog, RunLog
from ct_vae.training.reporting.trackers import Tracker
from ct_vae.training.step_metrics import StepMetrics


@dataclass(frozen=True, eq=False)
class RunOutputs:
    """Log, progress and tracker of a run.

    Attributes:
        log: ``metrics.jsonl`` of the run.
        progress: Lines and bar on the terminal.
        tracker: Experiment tracker.
        hu_per_unit: HU for each model unit.
    """

    log: RunLog | NoLog
    progress: Progress
    tracker: Tracker
    hu_per_unit: float

    def note(self, samples_seen: int, text: str) -> None:
        """Show a message and log it."""
        self.progress.say(text)
        self.log.write({"samples_seen": samples_seen, "note": text})

    def show(self, samples_seen: int, metrics: StepMetrics) -> None:
        """Show a step on the terminal."""
        self.progress.show(samples_seen, metrics, self.hu_per_unit)

    def log_step(self, samples_seen: int, metrics: StepMetrics, lr: float, skipped: int) -> None:
        """Log a step.

        Args:
            samples_seen: Samples after the step.
            metrics: Metrics of the step.
            lr: Its learning rate.
            skipped: Steps left out so far.
        """
        line = {
            "loss": metrics.loss,
            "mae_hu": metrics.mae * self.hu_per_unit,
            **metrics.losses,
            **{f"{name}_weight": weight for name, weight in metrics.weights.items()},
            **metrics.codes,
            **metrics.discriminator,
            "grad_norm": metrics.grad_norm,
            "latent_std": metrics.latent_std,
            "lr": lr,
            "skipped_steps": skipped,
        }
        self.log.write({"samples_seen": samples_seen, **line})
        self.tracker.write(line, samples_seen)

    def validation(self, samples_seen: int, metrics: dict[str, float]) -> None:
        """Show and track the metrics of a validation; saving the model logs them."""
        self.progress.note(samples_seen, metrics)
        self.tracker.write(metrics, samples_seen)

    def picture(self, samples_seen: int, path: Path) -> None:
        """Track the picture of a validation, if it could be drawn."""
        if path.exists():
            self.tracker.write_picture("validation", path, samples_seen)
