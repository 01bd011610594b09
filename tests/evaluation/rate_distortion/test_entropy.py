import math

import numpy as np
import pytest

from ct_vae.evaluation.rate_distortion.entropy import coded_bits


def banal(values):
    """Code lengths of one value after the other, with what was counted before."""
    bits = 0.0
    for channel in values:
        kinds = len(np.unique(channel)) + 1
        seen = {}
        for place in np.ndindex(channel.shape):
            total = 0
            for axis in range(3):
                if place[axis]:
                    before = list(place)
                    before[axis] -= 1
                    total += abs(int(channel[tuple(before)]))
            counts = seen.setdefault(min(math.floor(2 * math.log2(1 + total)), 20), {})
            value = int(channel[place])
            share = (counts.get(value, 0) + 0.5) / (sum(counts.values()) + 0.5 * kinds)
            bits -= math.log2(share)
            counts[value] = counts.get(value, 0) + 1
    return bits


@pytest.mark.parametrize("spread", [0.3, 2, 2000])
def test_it_is_the_length_of_a_sequential_adaptive_code(spread):
    rng = np.random.default_rng(0)
    values = np.rint(rng.laplace(0, spread, (2, 5, 6, 7))).astype(np.int64)
    assert coded_bits(values) == pytest.approx(banal(values))


def test_it_approaches_the_entropy_of_independent_values():
    rng = np.random.default_rng(1)
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    values = rng.choice(4, p=shares, size=(1, 40, 40, 40))
    assert coded_bits(values) / values.size == pytest.approx(1.75, rel=0.01)


def test_zeros_are_almost_free_and_neighbors_help():
    assert coded_bits(np.zeros((3, 20, 20, 20), np.int64)) < 200
    rng = np.random.default_rng(2)
    quiet_and_loud = np.repeat([0, 50], 20)[:, None, None]
    values = np.rint(rng.normal(0, 1, (1, 40, 20, 20)) * quiet_and_loud).astype(np.int64)
    mixed = rng.permutation(values.ravel()).reshape(values.shape)
    assert coded_bits(values) < 0.8 * coded_bits(mixed)
