import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.inference.latent_moments import LatentMoments


def values(seed=0, channels=3, count=1000):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(channels, count)) * 3 + [[5], [-1], [0]]).astype(np.float32)


def test_they_are_those_of_numpy():
    array = values()
    moments = LatentMoments.of(array)
    assert moments.count == 1000
    assert moments.mean == pytest.approx(array.astype(np.float64).mean(1).tolist(), rel=1e-12)
    assert moments.std == pytest.approx(array.astype(np.float64).std(1).tolist(), rel=1e-9)


@given(st.permutations(range(6)))
def test_parts_in_any_order_give_the_same_bits(order):
    parts = [LatentMoments.of(values(seed, count=50 + seed) / np.float64(3)) for seed in range(6)]
    assert LatentMoments.together([parts[i] for i in order]) == LatentMoments.together(parts)


def test_parts_together_are_the_whole():
    array = values()
    parts = [LatentMoments.of(array[:, :300]), LatentMoments.of(array[:, 300:])]
    assert LatentMoments.together(parts).std == pytest.approx(LatentMoments.of(array).std)


@pytest.mark.parametrize("value", [k / 10 for k in range(1, 40)])
def test_a_constant_channel_has_no_spread(value):
    """Rounding must not make the variance negative."""
    assert LatentMoments.of(np.full((1, 7), value)).std == pytest.approx((0,), abs=1e-6)
