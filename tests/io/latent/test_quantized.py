from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError, InputError
from ct_vae.io.latent.entropy.coder import encode_integers
from ct_vae.io.latent.entropy.rounding import LARGEST_MOVE
from ct_vae.io.latent.quantized import posterior_steps
from ct_vae.io.latent.storage import store
from tests.io._samples import latent_of


def _with_statistics(latent, **changes):
    statistics = latent.record.statistics.model_copy(update=changes)
    return replace(latent, record=latent.record.model_copy(update={"statistics": statistics}))


def coded(latent, step=1.0):
    return store(latent, "coded", step)


@given(st.floats(0.01, 100), st.integers(0, 9))
def test_values_are_multiples_of_the_steps_and_near(step, seed):
    latent = _with_statistics(latent_of(seed=seed), posterior_std=(0.01, 0.02, 0.3, 1.0))
    found = coded(latent, step)
    assert found.how.steps == pytest.approx([step * 12**0.5 * s for s in (0.01, 0.02, 0.3, 1.0)])
    steps = np.reshape(found.how.steps, (4, 1, 1, 1))
    values = found.values()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, (found.numbers * steps).astype(np.float32))
    error = np.abs(values.astype(np.float64) - latent.array)
    most = 0.5 if step <= 1 else 0.5 + LARGEST_MOVE
    assert (error <= most * steps + 1e-6 * np.abs(latent.array)).all()


def test_a_step_of_one_gives_an_error_like_the_noise_of_the_posterior():
    latent = _with_statistics(latent_of(shape=(20, 20, 20)), posterior_std=(0.01, 0.02, 0.3, 1.0))
    error = coded(latent).values() - latent.array
    np.testing.assert_allclose(error.std(axis=(1, 2, 3)), (0.01, 0.02, 0.3, 1.0), rtol=0.03)


def test_larger_steps_cost_less():
    latent = latent_of(shape=(12, 12, 12))
    sizes = [len(encode_integers(coded(latent, k).numbers)) for k in (0.5, 1, 2, 8, 64)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_that_is_no_positive_number_is_refused(step):
    with pytest.raises(ConfigError, match="positive number"):
        coded(latent_of(), step)


def test_codes_and_records_without_the_posterior_are_refused():
    with pytest.raises(InputError, match="codes"):
        posterior_steps(latent_of("codes"), 1.0)
    with pytest.raises(InputError, match="lacks the standard deviation"):
        coded(_with_statistics(latent_of(), posterior_std=None))


def test_steps_that_are_too_small_and_values_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="choose a larger step"):
        coded(_with_statistics(latent_of(), posterior_std=(1e-12,) * 4))
    with pytest.raises(InputError, match="choose a larger step"):
        coded(_with_statistics(latent_of(), posterior_std=(0.0,) * 4))
    broken = latent_of(array=np.full((4, 3, 4, 5), np.inf, np.float32))
    with pytest.raises(InputError, match="not finite"):
        coded(broken)
