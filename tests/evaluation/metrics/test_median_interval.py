from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.evaluation.metrics.median_interval import median_interval


@given(st.integers(6, 200))
def test_it_is_the_narrowest_with_at_least_the_stated_coverage(count):
    low, high, coverage = median_interval([float(k) for k in range(count)])
    assert low + high == count - 1

    def exact(left_out):
        return 1 - 2 * sum(comb(count, k) for k in range(left_out + 1)) / 2**count

    assert coverage == pytest.approx(exact(int(low)))
    assert coverage >= 0.95 > exact(int(low) + 1)


def test_the_coverage_is_met_for_skewed_values():
    rng = np.random.default_rng(0)
    drawn = rng.lognormal(0, 1.5, (20_000, 9))
    found = [median_interval(values) for values in drawn.tolist()]
    share = np.mean([low <= 1 <= high for low, high, _ in found])
    assert share == pytest.approx(found[0][2], abs=0.005)


def test_the_order_of_patients_changes_nothing_and_few_have_no_interval():
    values = [3.0, 1.0, 2.0, 7.0, 5.0, 4.0]
    assert median_interval(values) == median_interval(values[::-1]) == (1.0, 7.0, 0.96875)
    for count in range(6):
        assert median_interval(values[:count]) is None
