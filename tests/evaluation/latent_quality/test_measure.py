import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ct_vae.errors import InputError
from ct_vae.evaluation.latent_quality.measure import (
    measure_latent,
    radial_spectra,
    relative_error,
)
from ct_vae.preprocess.pipeline import Preprocessor
from tests.evaluation._cases import volume_of

SCALE = 0.5


class Blocks:
    """Network whose latent is known: block means, and a multiple of them as second channel."""

    factor = (2, 2, 2)
    device = torch.device("cpu")

    def __init__(self, std=0.1, turn=False):
        self.model = nn.Identity()
        self.std, self.turn = std, turn

    def features(self, image):
        mean = nn.functional.avg_pool3d(image, 2)
        if self.turn:
            mean = mean * torch.linspace(0, 1, mean.shape[2])[:, None, None]
        logvar = torch.full_like(mean, 2 * np.log(self.std))
        return torch.cat([mean, SCALE * mean, logvar, logvar], dim=1)

    def decode(self, latent):
        return nn.functional.interpolate(latent[:, :1], scale_factor=2)


class Stub:
    def __init__(self, **options):
        self.network = Blocks(**options)
        self.preprocessor = Preprocessor()


def ct(shape=(24, 20, 16), seed=0):
    rng = np.random.default_rng(seed)
    return volume_of(rng.integers(-300, 300, size=shape).astype(np.int16))


@pytest.fixture(scope="module")
def equivariant():
    return measure_latent(Stub(), ct(), side=16)


def test_an_equivariant_latent_has_no_error(equivariant):
    names = [e.transform for e in equivariant.equivariance]
    assert names == ["flip x", "flip y", "flip z", "rotate 90 degrees", "halve the size"]
    for found in equivariant.equivariance:
        assert found.latent_error == pytest.approx(0, abs=1e-6)
        assert found.rmse_hu == pytest.approx(found.rmse_hu_encoded, abs=1e-3)
        assert found.rmse_hu > 10
    assert equivariant.crop_error == pytest.approx(0, abs=1e-6)
    assert equivariant.crop_error_center == pytest.approx(0, abs=1e-6)


def test_a_latent_that_depends_on_the_position_has_errors_along_that_axis_only():
    found = measure_latent(Stub(turn=True), ct(), side=16)
    errors = {e.transform: e.latent_error for e in found.equivariance}
    assert errors["flip x"] > 0.3
    assert errors["flip y"] == pytest.approx(0, abs=1e-6)
    assert found.crop_error > 0.3


def test_statistics_are_those_of_the_latent(equivariant):
    volume = ct()
    # The whole of a uniform volume is the body; its center is that of the volume.
    assert equivariant.voxels == (16, 16, 16)
    first, second = equivariant.channels
    assert second.std == pytest.approx(SCALE * first.std)
    assert first.posterior_std == pytest.approx(0.1, rel=1e-5)
    assert first.noise_share == pytest.approx(0.01 / (0.01 + first.std**2), rel=1e-5)
    np.testing.assert_allclose(equivariant.correlation, 1, atol=1e-9)
    assert equivariant.largest_correlation == pytest.approx(1)
    assert first.std == pytest.approx(volume.voxels.std() / 1000 / np.sqrt(8), rel=0.1)


def test_results_are_json_and_a_line(equivariant):
    json.dumps(equivariant.as_dict(), allow_nan=False)
    assert "flip error 0.00" in equivariant.line()


def test_a_volume_with_two_latent_voxels_is_refused():
    with pytest.raises(InputError, match="too small to measure its latent"):
        measure_latent(Stub(), ct((4, 4, 4)))


def test_an_odd_number_of_latent_voxels_leaves_out_the_half_size():
    found = measure_latent(Stub(), ct((2, 6, 12)))
    assert "halve the size" not in [e.transform for e in found.equivariance]


@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(*[st.integers(2, 9)] * 3),
    scale=st.floats(0.01, 100),
    seed=st.integers(0, 99),
)
def test_spectra_do_not_depend_on_the_scale_and_average_to_one(sides, scale, seed):
    noise = np.random.default_rng(seed).normal(size=(1, *sides))
    _, spectra = radial_spectra(noise)
    np.testing.assert_allclose(spectra, radial_spectra(scale * noise + 5)[1], rtol=1e-6)
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in sides), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes)).ravel()
    count = np.histogram(np.minimum(radius[radius > 0], 0.5), 8, (0, 0.5))[0]
    assert (spectra[0] * count).sum() / count.sum() == pytest.approx(1)


def test_white_noise_is_flat_and_a_wave_is_one_bin():
    noise = np.random.default_rng(0).normal(size=(1, 32, 32, 32))
    frequencies, spectra = radial_spectra(noise)
    np.testing.assert_allclose(spectra[0][1:], 1, atol=0.1)
    wave = np.cos(2 * np.pi * 5 / 32 * np.arange(32))[None, :, None, None] * np.ones(
        (1, 32, 32, 32)
    )
    spectra = radial_spectra(wave)[1][0]
    assert np.count_nonzero(spectra > 1e-9) == 1
    assert abs(frequencies[np.argmax(spectra)] - 5 / 32) <= 1 / 32


def test_constant_channels_are_left_out():
    reference = torch.randn(1, 2, 4, 4, 4)
    reference[:, 1] = 3
    other = reference.clone()
    other[:, 1] += 1
    assert relative_error(reference, other, reference) == 0
    assert not radial_spectra(np.full((1, 4, 4, 4), 7.0))[1].any()


def test_unrelated_latents_differ_by_the_root_of_two():
    a, b = torch.randn(2, 1, 3, 24, 24, 24).unbind()
    assert relative_error(a, b, a) == pytest.approx(2**0.5, rel=0.02)
