"""Confidence interval of a median over patients."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binom

METHOD = "order statistics, exact for independent patients of any distribution"
LEVEL = 0.95
# Between the lowest and the highest of fewer values, the probability of the median is lower.
LEAST_PATIENTS = 6


def median_interval(values: Sequence[float]) -> tuple[float, float, float] | None:
    """Return the narrowest symmetric interval of order statistics with 95 % coverage.

    The number of values below the median has a binomial distribution, so the coverage is known
    whatever the distribution of the values is (Conover 1999, section 3.2). It is usually a little
    above 95 %, because it can take few values only.

    Args:
        values: One value for each patient.

    Returns:
        Low end, high end and coverage; ``None`` for fewer than 6 values, for which no such interval
        exists.
    """
    count = len(values)
    if count < LEAST_PATIENTS:
        return None
    # Values that are left out at either end: the most with 2.5 % of the distribution below them.
    left_out = int(binom.ppf((1 - LEVEL) / 2, count, 0.5)) - 1
    ordered = sorted(values)
    coverage = 1 - 2 * float(binom.cdf(left_out, count, 0.5))
    return ordered[left_out], ordered[-1 - left_out], coverage
