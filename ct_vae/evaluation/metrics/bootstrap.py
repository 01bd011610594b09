"""Confidence interval of a median over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000
SEED = 20261
METHOD = "percentile bootstrap of the median over patients"


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median by the percentile bootstrap (Efron 1993, 13.3).

    Args:
        values: One for each patient.

    Returns:
        Low and high end, the same for the same values in any order; ``None`` for fewer than two.
    """
    if len(values) < 2:
        return None
    found = stats.bootstrap(
        (np.sort(np.asarray(values, dtype=np.float64)),),
        np.median,
        n_resamples=RESAMPLES,
        method="percentile",
        # The seed is fixed, so that a table can be made again.
        rng=np.random.default_rng(SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
