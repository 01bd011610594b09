"""The best model of a run, kept as a model folder inside the run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ct_vae.errors import OutputError
from ct_vae.models.model_folder import CARD, CONFIG, SUMS
from ct_vae.models.weights import WEIGHTS

BEST = "best"
# The whole range of HU in one number: a mean over windows would count soft tissue twice.
BEST_BY = "val_rmse_hu_full"


class Best:
    """Remembers the lowest validation error, and where the model that had it lies.

    Args:
        run: The run folder; the best model is its folder ``best``.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / BEST
        self._lowest = math.inf

    def clear(self) -> None:
        """Remove the best model of an earlier run; files of other names are left alone.

        Raises:
            OutputError: If a file cannot be removed.
        """
        try:
            # Without weights a folder is no model folder, wherever the removal stops.
            for name in (WEIGHTS, CONFIG, CARD, SUMS):
                (self.folder / name).unlink(missing_ok=True)
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()
        except OSError as error:
            raise OutputError(
                f"cannot remove the earlier {self.folder}: {error.strerror}",
                "choose another training.output_dir",
            ) from error

    def improved(self, metrics: Mapping[str, float]) -> bool:
        """Whether a validation is the best so far; one without a full-range error never is."""
        error = metrics.get(BEST_BY, math.inf)
        if not error < self._lowest:
            return False
        self._lowest = error
        return True
