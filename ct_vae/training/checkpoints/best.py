"""Best validation of a run, its model folder, and early stopping."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path

from ct_vae.errors import ConfigError
from ct_vae.models.model_folder import remove_model
from ct_vae.training.reporting.run_log import is_validation, read_log

BEST = "best"
_HIGHER_IS_BETTER = ("val_psnr_", "val_ssim_")


class Best:
    """Tracks the best validation and the folder of its model.

    Args:
        run: The run folder; the best model is in its folder ``best``.
        metric: Metric to compare validations by; lower is better, except for PSNR and SSIM.
        patience: Validations in a row without improvement before training ends; ``None`` to train
            to the end.

    Attributes:
        metrics: Metrics of the best validation; empty before the first one.
        samples_seen: Samples seen by the best model, or ``None``.
        since: Validations in a row without improvement.
    """

    def __init__(self, run: Path, metric: str, patience: int | None = None) -> None:
        self.folder = run / BEST
        self.metrics: Mapping[str, float] = {}
        self.samples_seen: int | None = None
        self.since = 0
        self._metric = metric
        self._patience = patience
        self._sign = -1.0 if metric.startswith(_HIGHER_IS_BETTER) else 1.0
        self._lowest = math.inf

    @property
    def out_of_patience(self) -> bool:
        """True if there was no improvement for the permitted number of validations."""
        return self._patience is not None and self.since >= self._patience

    def recall(self, log: Path) -> None:
        """Restore the state from the validations in a log."""
        for line in read_log(log):
            if is_validation(line):
                metrics = {k: float(v) for k, v in line.items() if k.startswith("val_")}
                self.improved(metrics, line["samples_seen"])

    def clear(self) -> None:
        """Remove the best model of an earlier run, but no other files.

        Raises:
            OutputError: If a file cannot be removed.
        """
        remove_model(self.folder)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def improved(self, metrics: Mapping[str, float], samples_seen: int) -> bool:
        """Add a validation; return True if it is the best so far, which requires the metric."""
        error = self._sign * metrics.get(self._metric, self._sign * math.inf)
        if not error < self._lowest:
            self.since += 1
            return False
        self._lowest, self.since = error, 0
        self.metrics, self.samples_seen = dict(metrics), samples_seen
        return True


def check_patience(patience: int | None, cases: int) -> None:
    """Check that there are validation cases, if `training.patience` needs them.

    Raises:
        ConfigError: If there are none.
    """
    if patience is not None and cases == 0:
        raise ConfigError(
            f"training.patience {patience} waits for validations, and there is no validation case",
            "name some, or leave patience out",
        )
