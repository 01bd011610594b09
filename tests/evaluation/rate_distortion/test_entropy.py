import math

import numpy as np
import pytest

from ct_vae.evaluation.rate_distortion.entropy import index_bits


def banal(indices):
    """Code lengths of one index after the other, with what was counted before."""
    kinds = len(set(indices)) + 1
    bits, counts = 0.0, {}
    for place, index in enumerate(indices):
        bits -= math.log2((counts.get(index, 0) + 0.5) / (place + 0.5 * kinds))
        counts[index] = counts.get(index, 0) + 1
    return bits


@pytest.mark.parametrize("codes", [1, 3, 500])
def test_it_is_the_length_of_a_sequential_adaptive_code(codes):
    indices = np.random.default_rng(0).integers(0, codes, (5, 6, 7)).astype(np.uint16)
    assert index_bits(indices) == pytest.approx(banal(indices.ravel().tolist()))


def test_it_approaches_the_entropy_of_independent_indices():
    rng = np.random.default_rng(1)
    indices = rng.choice(4, p=[0.5, 0.25, 0.125, 0.125], size=64_000)
    assert index_bits(indices) / indices.size == pytest.approx(1.75, rel=0.01)
