import decimal
import hashlib
import math

import numpy as np
import pytest

from ct_vae.io.latent.entropy import distributions
from ct_vae.io.latent.entropy.distributions import MODELS, best_model, frequencies


def test_tables_are_whole_symmetric_and_without_zeros():
    for model in range(MODELS):
        table = frequencies(model)
        assert len(table) == 256
        np.testing.assert_array_equal(table, np.rint(table))
        assert table.min() >= 1
        np.testing.assert_array_equal(table[1:128], table[129:][::-1])


@pytest.mark.parametrize(("model", "power", "width"), [(0, 0.5, 1 / 16), (36 * 2 + 24, 1, 4.0)])
def test_tables_follow_the_generalized_normal_distribution(model, power, width):
    weights = [math.exp(-((abs(x) / width) ** power)) for x in range(-128, 129)]
    expected = np.array(weights[:-1]) / sum(weights)
    table = frequencies(model)
    np.testing.assert_allclose(table / table.sum(), expected, atol=2e-4)


def test_tables_are_those_that_files_were_written_with():
    digest = hashlib.sha256()
    distributions._half_table.cache_clear()
    # The context of the caller has no part in it.
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        for model in range(MODELS):
            digest.update(frequencies(model).astype("<u4").tobytes())
    assert digest.hexdigest()[:16] == "226b5fabf70dd94b"


def test_the_best_model_is_the_one_with_the_fewest_bits():
    rng = np.random.default_rng(0)
    for true in (30, 36 + 20, 72 + 10, 108 + 28, 144 + 16):
        table = frequencies(true)
        symbols = rng.choice(256, 20000, p=table / table.sum())
        histogram = np.bincount(symbols, minlength=256)

        def bits(model, histogram=histogram):
            tried = frequencies(model)
            return -(histogram * np.log2(tried / tried.sum())).sum()

        assert bits(best_model(histogram)) == pytest.approx(min(map(bits, range(MODELS))))
