import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.evaluation.rate_distortion.curve import (
    Curve,
    RatePoint,
    bd_rate,
    crossings,
    mean_curve,
)
from tests.evaluation.rate_distortion._curves import RATES, power_curve


@given(st.floats(0.1, 10), st.floats(0.2, 2))
def test_the_bd_rate_of_a_constant_ratio_of_rates_is_that_ratio(ratio, exponent):
    reference = power_curve("a", 20, exponent, RATES)
    # The error at `ratio` times the rate is that of the reference.
    curve = Curve("b", tuple(RatePoint(p.level, ratio * p.bits_per_voxel, p.body, p.soft_tissue)
                             for p in reference.points))  # fmt: skip
    assert bd_rate(curve, reference, "body") == pytest.approx(100 * (ratio - 1), rel=1e-9, abs=1e-9)
    assert bd_rate(reference, curve, "body") == pytest.approx(
        100 * (1 / ratio - 1), rel=1e-9, abs=1e-9
    )


@given(st.floats(0.3, 0.9), st.floats(1.0, 2.0), st.floats(0.5, 2))
def test_the_bd_rate_of_power_laws_has_a_closed_form(flat, steep, scale):
    """For ``e = s r^-p``, log10 r is linear in log10 e, so its mean is that of the middle."""
    one, two = power_curve("a", 10, flat, RATES), power_curve("b", 10 * scale, steep, RATES)
    low = max(each.front("body")[1].min() for each in (one, two))
    high = min(each.front("body")[1].max() for each in (one, two))
    middle = (np.log10(low) + np.log10(high)) / 2
    rates = [(np.log10(s) - middle) / p for s, p in ((10, flat), (10 * scale, steep))]
    assert bd_rate(one, two, "body") == pytest.approx(
        100 * (10 ** (rates[0] - rates[1]) - 1), rel=1e-6, abs=1e-9
    )


def test_there_is_no_bd_rate_without_common_errors():
    good, bad = power_curve("a", 1, 0.1, RATES), power_curve("b", 100, 0.1, RATES)
    assert bd_rate(good, bad, "body") is None
    single = Curve("c", good.points[:1])
    assert bd_rate(single, good, "body") is None
    assert crossings(good, bad, "body") == crossings(single, good, "body") == []


def test_power_laws_cross_where_they_are_equal():
    flat, steep = power_curve("a", 10, 0.3, RATES), power_curve("b", 5, 1, RATES)
    # 10 r^-0.3 = 5 r^-1
    (at,) = crossings(flat, steep, "soft_tissue")
    assert at == pytest.approx(0.5 ** (1 / 0.7), rel=1e-9)


def test_points_that_another_one_dominates_do_not_count():
    curve = Curve(
        "a",
        (
            RatePoint(0, 0.5, 10, 10),
            RatePoint(1, 0.1, 40, 50),
            RatePoint(2, 0.3, 45, 20),
            RatePoint(3, 0.5, 12, 30),
            RatePoint(4, 2.0, 0, 1),
        ),
    )
    rates, errors = curve.front("body")
    assert (rates.tolist(), errors.tolist()) == ([0.1, 0.5], [40, 10])
    rates, errors = curve.front("soft_tissue")
    assert (rates.tolist(), errors.tolist()) == ([0.1, 0.3, 0.5, 2.0], [50, 20, 10, 1])


def test_rates_and_errors_are_interpolated_and_inverse_inside_the_curve():
    curve = power_curve("a", 7, 0.6, RATES)
    assert curve.error_at(0.123, "body") == pytest.approx(7 * 0.123**-0.6)
    assert curve.error_at(0.001, "body") is None
    assert curve.rate_at(7 * 0.123**-0.6, "body") == pytest.approx(0.123)
    assert curve.rate_at(1e6, "body") is None


def test_the_mean_curve_is_the_geometric_mean_where_all_have_rates():
    one, two = power_curve("a", 4, 0.5, RATES), power_curve("a", 9, 0.5, RATES[2:])
    rates, errors = mean_curve([one, two], "body").front("body")
    assert rates[0] == pytest.approx(RATES[2])
    np.testing.assert_allclose(errors, 6 * rates**-0.5, rtol=1e-9)
    assert mean_curve([one], "body") is one
    assert mean_curve([one, power_curve("a", 4, 0.5, RATES + 2)], "body") is None
    assert mean_curve([], "body") is None
