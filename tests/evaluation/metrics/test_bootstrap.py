import numpy as np
import pytest
from scipy import stats

from ct_vae.evaluation.metrics.bootstrap import median_interval


def test_it_is_about_what_scipy_gives():
    values = np.random.default_rng(3).normal(30, 4, 40)
    theirs = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert median_interval(values) == pytest.approx((theirs.low, theirs.high), abs=0.4)


def test_the_order_of_patients_changes_nothing_and_one_has_no_interval():
    values = [3.0, 1.0, 2.0, 7.0]
    assert median_interval(values) == median_interval(values[::-1])
    assert median_interval([4.0]) is None
    assert median_interval([4.0, 4.0]) == (4, 4)
