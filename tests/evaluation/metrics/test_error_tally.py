import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.evaluation.metrics.error_tally import FLOAT_BIN_HU, FloatTally, WholeTally

PERCENTAGES = (0.0, 37.5, 95.0, 99.9, 100.0)
wholes = st.lists(st.integers(-131_072, 131_072), min_size=1, max_size=40)
parts = st.integers(1, 5)


def plainly(errors):
    absolute = np.abs(errors)
    rmse = np.sqrt(np.mean(np.square(errors)))
    return absolute.mean(), rmse, np.mean(errors), np.percentile(absolute, PERCENTAGES)


def told(tally, errors, count):
    for part in np.array_split(errors, count):
        tally.add(part)
    numbers = tally.numbers(PERCENTAGES)
    assert tally.n == errors.size
    return numbers


@given(wholes, parts, st.sampled_from([1.0, 0.5]))
def test_whole_errors_are_exact_however_they_come(errors, count, step):
    found = told(WholeTally(step), np.array(errors, np.int32), count)
    mae, rmse, bias, percentiles = plainly(step * np.array(errors, float))
    assert (found.mae, found.rmse) == pytest.approx((mae, rmse), rel=1e-12)
    assert found.bias == pytest.approx(bias, rel=1e-12, abs=1e-9)
    assert found.percentiles == pytest.approx(percentiles, rel=1e-12)


def test_sums_of_squares_beyond_64_bits_are_exact():
    tally = WholeTally()
    tally.add(np.array([-131_072, 131_072], np.int32))
    tally.counts *= 1 << 40
    tally.n <<= 40
    found = tally.numbers([50.0])
    assert (found.mae, found.rmse, found.bias, found.percentiles) == (131_072, 131_072, 0, [131072])


@given(st.lists(st.floats(-9e4, 9e4), min_size=1, max_size=40), parts)
def test_other_errors_have_percentiles_right_to_half_a_bin(errors, count):
    found = told(FloatTally(), np.array(errors), count)
    mae, rmse, bias, percentiles = plainly(errors)
    assert (found.mae, found.rmse) == pytest.approx((mae, rmse), rel=1e-9, abs=1e-150)
    assert found.bias == pytest.approx(bias, rel=1e-9, abs=1e-9)
    assert found.percentiles == pytest.approx(percentiles, abs=FLOAT_BIN_HU / 2 + 1e-9)


@pytest.mark.parametrize(("tally", "dtype"), [(WholeTally(), np.int32), (FloatTally(), np.float64)])
def test_no_errors_change_nothing(tally, dtype):
    tally.add(np.array([], dtype))
    assert tally.n == 0
    tally.add(np.array([[3], [-1]], dtype))
    assert (tally.n, tally.numbers(()).mae) == (2, 2)
