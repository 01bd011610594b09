import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ct_vae.errors import InputError
from ct_vae.io.latent.int16 import dequantize_int16, quantize_int16

finite = st.floats(-(2.0**100), 2.0**100, width=32)


@given(hnp.arrays(np.float32, st.integers(1, 50), elements=finite))
def test_the_error_is_at_most_half_a_step_and_one_rounding(array):
    quantized = quantize_int16(array)
    error = np.abs(quantized.values().astype(np.float64) - array)
    rounding = np.spacing(np.abs(array).max())
    assert (error <= quantized.slope / 2 * (1 + 1e-9) + rounding).all()


@given(hnp.arrays(np.float32, st.integers(2, 50), elements=st.floats(-8, 8, width=32)))
def test_the_full_range_is_used(array):
    if array.max() - array.min() < 1e-3:
        return
    stored = quantize_int16(array).stored.astype(int)
    assert stored.max() == 32767 or stored.min() == -32767
    assert stored.max() - stored.min() > 65000


@given(hnp.arrays(np.float32, st.integers(1, 20), elements=finite))
def test_slope_and_intercept_are_float32(array):
    quantized = quantize_int16(array)
    assert float(np.float32(quantized.slope)) == quantized.slope > 0
    assert float(np.float32(quantized.inter)) == quantized.inter


@pytest.mark.parametrize("value", [0.0, -3.25, 1e-40, 1e38])
def test_a_constant_array_is_exact(value):
    array = np.full(7, value, np.float32)
    np.testing.assert_array_equal(quantize_int16(array).values(), array)


def test_neighbouring_floats_far_from_zero_stay_apart():
    array = np.array([1e6, np.nextafter(np.float32(1e6), np.float32(2e6))], np.float32)
    np.testing.assert_array_equal(quantize_int16(array).values(), array)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(InputError, match="not finite"):
        quantize_int16(np.array([0, bad, 1], np.float32))


def test_a_range_beyond_float32_is_held():
    array = np.array([-3e38, 3e38], np.float32)
    values = quantize_int16(array).values()
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values, array, rtol=1e-4)


def test_values_are_computed_in_float64():
    stored = np.array([12345], np.int16)
    slope, inter = float(np.float32(0.1)), float(np.float32(7.7))
    assert dequantize_int16(stored, slope, inter)[0] == np.float32(12345 * slope + inter)
