import numpy as np
import pytest

from ct_vae.evaluation.metrics.bootstrap import median_interval


def test_it_is_that_of_medians_of_drawn_patients():
    values = np.random.default_rng(3).normal(30, 4, 40)
    drawn = np.random.default_rng(1).choice(values, (20_000, 40))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    assert median_interval(values) == pytest.approx((low, high), abs=0.3)


def test_the_order_of_patients_changes_nothing_and_one_has_no_interval():
    values = [3.0, 1.0, 2.0, 7.0]
    assert median_interval(values) == median_interval(values[::-1])
    assert median_interval([4.0]) is None
    assert median_interval([4.0, 4.0]) == (4, 4)
