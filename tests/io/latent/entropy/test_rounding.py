import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.io.latent.entropy import channel_groups
from ct_vae.io.latent.entropy.coder import encode_integers
from ct_vae.io.latent.entropy.prediction import LARGEST
from ct_vae.io.latent.entropy.rounding import LARGEST_MOVE, round_cheaply


def _field(shape, scale=1.0, seed=0):
    """Smooth field with noise, as the channels of latents are."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=shape)
    smooth = sum(np.roll(noise, k, axis=axis) for axis in (1, 2, 3) for k in (-2, -1, 1, 2))
    return (scale * (smooth + rng.laplace(size=shape))).astype(np.float32)


def _rounded(values, steps):
    nearest = np.rint(values / np.reshape(steps, (-1, 1, 1, 1))).astype(np.int32)
    cheap = nearest.copy()
    round_cheaply(values, steps, cheap)
    return nearest, cheap


@given(
    st.tuples(st.integers(1, 4), *[st.integers(1, 9)] * 3),
    st.sampled_from([0.01, 0.3, 1.0, 40.0]),
    st.integers(0, 99),
)
def test_integers_are_at_most_one_away_and_only_near_the_middle(shape, step, seed):
    values = _field(shape, seed=seed)
    steps = [step * (1 + k) for k in range(shape[0])]
    nearest, cheap = _rounded(values, steps)
    assert np.abs(cheap - nearest).max() <= 1
    error = np.abs(cheap - values / np.reshape(steps, (-1, 1, 1, 1)))
    assert error.max() <= 0.5 + LARGEST_MOVE + 1e-4


@pytest.mark.parametrize(("step", "gain"), [(1.0, -0.005), (4.0, 0.01), (16.0, 0.04)])
def test_large_steps_need_fewer_bits_at_the_same_error(step, gain):
    values = _field((4, 24, 28, 20))

    def rate_and_error(width, cheap):
        integers = _rounded(values, [width] * 4)[cheap]
        error = np.square(integers * width - values).mean()
        return np.log([len(encode_integers(integers)), error])

    (rate, error), (cheap_rate, cheap_error) = (rate_and_error(step, k) for k in (0, 1))
    # Nearest integers of larger steps that have the same error.
    coarse_rate, coarse_error = rate_and_error(1.15 * step, 0)
    share = (cheap_error - error) / (coarse_error - error)
    same_error = rate + share * (coarse_rate - rate)
    assert cheap_rate < same_error - gain


def test_multiples_of_the_step_stay():
    values = np.rint(_field((3, 9, 10, 11), 2.0)) * np.float32(0.25)
    nearest, cheap = _rounded(values, [0.25] * 3)
    np.testing.assert_array_equal(cheap, nearest)


def test_small_steps_leave_nearly_all_integers():
    nearest, cheap = _rounded(_field((2, 12, 12, 12)), [0.01, 0.01])
    assert np.mean(cheap != nearest) < 0.002


def test_what_is_computed_at_once_does_not_matter(monkeypatch):
    values = _field((3, 7, 6, 12))
    expected = _rounded(values, [1.0, 2.0, 0.5])[1]
    monkeypatch.setattr(channel_groups, "_GROUP_VALUES", 600)
    monkeypatch.setattr(channel_groups, "_SLAB_VALUES", 50)
    np.testing.assert_array_equal(_rounded(values, [1.0, 2.0, 0.5])[1], expected)


def test_values_that_are_too_large_for_the_coder_are_left_to_it():
    values = np.full((1, 2, 2, 2), 0.6, np.float32)
    values[0, 0, 0, 0] = LARGEST + 1
    nearest, cheap = _rounded(values, [1.0])
    np.testing.assert_array_equal(cheap, nearest)
