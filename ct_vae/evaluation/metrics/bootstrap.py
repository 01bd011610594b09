"""How sure a median over patients is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
SEED = 20261
METHOD = "percentile bootstrap of the median over patients"


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the median, by the percentile bootstrap (Efron and Tibshirani 1993, 13.3).

    Args:
        values: One for each patient.

    Returns:
        Low and high end, the same for the same values in any order; ``None`` for fewer than two.
    """
    if len(values) < 2:
        return None
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    # The seed is fixed, so that a table can be made again.
    drawn = np.random.default_rng(SEED).integers(len(ordered), size=(RESAMPLES, len(ordered)))
    low, high = np.percentile(np.median(ordered[drawn], axis=1), [2.5, 97.5]).tolist()
    return low, high
