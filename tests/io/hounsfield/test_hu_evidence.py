import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ct_vae.io.hounsfield.hu_evidence import PEAK_WIDTH, Evidence, distinct_values, sampled
from tests.io.hounsfield._thorax import circle, thorax

values = arrays(np.int16, st.tuples(*[st.integers(1, 6)] * 3), elements=st.integers(-1100, 1100))


@given(voxels=values, low=st.integers(-1200, 1200), width=st.integers(0, 900))
def test_fractions_and_quantiles_are_those_of_numpy(voxels, low, width):
    evidence = Evidence.of(voxels)
    inside = (voxels >= low) & (voxels <= low + width)
    assert evidence.fraction(low, low + width) == pytest.approx(inside.mean())
    assert evidence.count(low) == (voxels == low).sum()
    assert (evidence.low, evidence.high) == (voxels.min(), voxels.max())
    assert evidence.quantile(0.5) == np.quantile(voxels, 0.5, method="lower")


@given(voxels=values)
def test_the_step_divides_all_differences(voxels):
    step = Evidence.of(voxels).step
    offsets = voxels.astype(int) - voxels.min()
    assert step == np.gcd.reduce(offsets.ravel())
    assert Evidence.of(voxels + np.float32(0.25)).step == step
    uneven = np.append(voxels.ravel(), [0, 0.5]).astype(np.float32)
    assert Evidence.of(uneven).step == 0


@given(voxels=values)
def test_the_fullest_window_is_found(voxels):
    flat = voxels.ravel().astype(float)
    expected = max(((flat >= v) & (flat <= v + PEAK_WIDTH)).mean() for v in flat)
    assert Evidence.of(voxels).commonest == pytest.approx(expected)


def test_two_materials_are_two_peaks():
    rng = np.random.default_rng(0)
    voxels = np.concatenate([rng.normal(-1000, 1, 3000), rng.normal(40, 1, 1000), [-2000, 3000]])
    first, second = Evidence.of(voxels.astype(np.float32)).peaks
    assert first.center == pytest.approx(-1000, abs=3)
    assert second.center == pytest.approx(40, abs=3)
    assert first.fraction == pytest.approx(0.75, abs=0.01)
    assert second.fraction == pytest.approx(0.25, abs=0.01)


def test_voxels_outside_the_field_of_view_do_not_count():
    voxels = thorax()
    voxels[circle()] = 3000
    assert Evidence.of(voxels).high == 3000
    assert Evidence.of(voxels, circle()).high < 1100
    assert Evidence.of(voxels, np.ones(voxels.shape, bool)) is None


def test_a_constant_background_is_left_out_and_air_is_not():
    voxels = thorax()
    whole = Evidence.of(voxels)
    assert whole.without_background() is whole
    voxels[circle()] = -1900
    rest = Evidence.of(voxels).without_background()
    assert rest.low > -1200
    assert rest.values.size < voxels.size


def test_only_many_different_values_are_those_of_a_scanner():
    assert Evidence.of(thorax()).noisy
    assert not Evidence.of(np.zeros((20, 20, 20), np.int16)).noisy
    assert not Evidence.of(np.arange(999)).noisy


@given(voxels=values, most=st.integers(1, 30))
def test_distinct_values_are_all_or_none(voxels, most):
    expected = np.unique(voxels).tolist()
    assert distinct_values(voxels, None, most) == (expected if len(expected) <= most else None)


def test_a_sample_has_voxels_of_every_row():
    voxels = np.broadcast_to(np.arange(1024), (64, 32, 1024))
    assert len(np.unique(sampled(voxels))) == 1024
