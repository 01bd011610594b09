import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from ct_vae.evaluation.texture.find_flat_regions import detrended
from ct_vae.evaluation.texture.noise_spectrum import NoiseSpectrum, noise_spectrum


@given(
    st.integers(0, 99), st.integers(8, 24), st.floats(0.4, 3), st.floats(0.4, 3), st.floats(1, 50)
)
def test_integral_is_the_variance(seed, side, across, deep, sd):
    squares = np.random.default_rng(seed).normal(0, sd, (7, side, side))
    rest = detrended(squares)
    spectrum = noise_spectrum(rest, (across, deep))
    assert spectrum.variance == pytest.approx((rest**2).sum() / (7 * (side**2 - 6)), rel=1e-9)


def test_white_noise_is_flat_at_its_variance_times_the_pixel():
    squares = np.random.default_rng(0).normal(0, 20, (3000, 16, 16))
    spectrum = noise_spectrum(detrended(squares), (0.8, 0.8))
    assert spectrum.variance == pytest.approx(400, rel=0.01)
    frequencies, power = spectrum.radial()
    # The trend takes from the lowest rings only.
    assert power[3:] == pytest.approx(400 * 0.64, rel=0.05)
    assert frequencies[0] == pytest.approx(1 / (16 * 0.8))
    assert frequencies[-1] == pytest.approx(spectrum.nyquist)


def test_filtered_noise_has_the_filters_spectrum():
    sigma, spacing = 0.8, 0.7
    white = np.random.default_rng(1).normal(0, 30, (1500, 24, 24))
    smooth = ndimage.gaussian_filter(white, sigma, axes=(1, 2), mode="wrap")
    found = noise_spectrum(detrended(smooth), (spacing, spacing))
    filtered = np.exp(-4 * (np.pi * sigma * spacing * found.radii) ** 2)
    expected = NoiseSpectrum(900 * spacing**2 * filtered, (spacing, spacing))
    frequencies, power = found.radial()
    middle = (frequencies > 0.2) & (frequencies < 0.45)
    assert power[middle] == pytest.approx(expected.radial()[1][middle], rel=0.06)


def test_one_wave_lies_in_its_own_ring():
    x = np.arange(16)
    wave = np.broadcast_to(np.cos(2 * np.pi * 6 * x / 16)[:, None], (1, 16, 16))
    spectrum = noise_spectrum(wave * 10, (0.5, 0.5))
    assert spectrum.mean_frequency() == pytest.approx(6 / 8)
    assert spectrum.high_share() == pytest.approx(1)
    assert spectrum.variance == pytest.approx(50 * 256 / 250)


def test_no_noise_has_no_frequency():
    spectrum = noise_spectrum(np.zeros((3, 8, 8)), (1.0, 1.0))
    assert spectrum.variance == 0
    assert spectrum.mean_frequency() is None
    assert spectrum.high_share() is None
