"""The best model of a run, kept as a model folder inside the run folder."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path

from ct_vae.models.model_folder import remove_model

BEST = "best"
_HIGHER_IS_BETTER = ("val_psnr_", "val_ssim_")


class Best:
    """Remembers the best validation, and where the model that had it lies.

    Args:
        run: The run folder; the best model is its folder ``best``.
        metric: By which validations are compared; lower is better, but for PSNR and SSIM.

    Attributes:
        metrics: Of the best validation; empty before there is one.
        samples_seen: Samples that the best model had seen, or ``None``.
        since: Validations in a row that were no better.
    """

    def __init__(self, run: Path, metric: str) -> None:
        self.folder = run / BEST
        self.metrics: Mapping[str, float] = {}
        self.samples_seen: int | None = None
        self.since = 0
        self._metric = metric
        self._sign = -1.0 if metric.startswith(_HIGHER_IS_BETTER) else 1.0
        self._lowest = math.inf

    def clear(self) -> None:
        """Remove the best model of an earlier run; files of other names are left alone.

        Raises:
            OutputError: If a file cannot be removed.
        """
        remove_model(self.folder)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def improved(self, metrics: Mapping[str, float], samples_seen: int) -> bool:
        """Whether a validation is the best so far; one without the metric never is."""
        error = self._sign * metrics.get(self._metric, self._sign * math.inf)
        if not error < self._lowest:
            self.since += 1
            return False
        self._lowest, self.since = error, 0
        self.metrics, self.samples_seen = dict(metrics), samples_seen
        return True
