import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ct_vae.errors import InputError
from ct_vae.evaluation.texture.noise import measure_texture
from ct_vae.masks import Mask
from ct_vae.volume import Volume
from tests.evaluation._cases import volume_of
from tests.evaluation.texture.test_find_flat_regions import block, everywhere


def changed(volume, voxels):
    return Volume(np.asarray(voxels, dtype=np.float32), volume.grid)


def measured(volume, voxels):
    texture = measure_texture(volume, changed(volume, voxels), everywhere(volume))
    json.dumps(texture.as_dict(), allow_nan=False)
    return texture


def test_the_original_itself_keeps_everything():
    volume = block(sd=12)
    texture = measured(volume, volume.voxels)
    assert texture.noise_ratio == 1
    assert texture.frequency_shift == 0
    assert texture.noise_hu == pytest.approx(12, rel=0.05)
    assert texture.nps == texture.nps_reconstruction
    assert texture.note == ""
    assert texture.side_mm == (15, 15)


@settings(max_examples=15)
@given(st.integers(0, 50), st.floats(0.4, 2))
def test_blur_lowers_noise_and_frequency(seed, sigma):
    volume = block(seed)
    blurred = ndimage.gaussian_filter(volume.voxels.astype(float), (sigma, sigma, 0))
    texture = measured(volume, blurred)
    assert texture.noise_ratio < 0.95
    assert texture.frequency_shift < 0
    assert texture.high_share_reconstruction < texture.high_share


@settings(max_examples=15)
@given(st.integers(0, 50), st.floats(3, 40))
def test_added_noise_raises_the_ratio_by_its_variance(seed, sd):
    volume = block(seed, sd=10)
    noise = np.random.default_rng(seed + 1000).normal(0, sd, volume.voxels.shape)
    texture = measured(volume, volume.voxels + noise)
    assert texture.noise_ratio == pytest.approx(1 + (sd / texture.noise_hu) ** 2, rel=0.06)


def test_an_offset_and_a_ramp_change_nothing():
    volume = block()
    ramp = np.arange(96)[:, None, None] * 0.4 + 25
    assert measured(volume, volume.voxels + ramp).noise_ratio == pytest.approx(1, rel=1e-5)


def test_scaled_noise_scales_the_spectrum():
    volume = block()
    texture = measured(volume, volume.voxels * 0.5)
    assert texture.noise_ratio == pytest.approx(0.25, rel=1e-6)
    assert texture.nps_reconstruction == pytest.approx(np.array(texture.nps) / 4, rel=1e-6)
    assert texture.frequency_shift == pytest.approx(0, abs=1e-9)


def test_too_few_regions_say_so():
    volume = block(shape=(20, 20, 3))
    texture = measured(volume, volume.voxels)
    assert texture.noise_ratio is None
    assert "flat regions" in texture.note
    empty = Mask("body", np.zeros(volume.grid.shape, bool))
    assert measure_texture(volume, volume, empty).regions == 0


def test_a_noiseless_original_or_reconstruction_says_so():
    constant = volume_of(np.full((96, 80, 4), 40, np.int16), (1.0, 1.0, 3.0))
    assert measured(constant, constant.voxels).noise_ratio is None
    assert "below" in measured(constant, constant.voxels).note
    volume = block()
    texture = measured(volume, np.zeros(volume.grid.shape))
    assert texture.noise_ratio == 0
    assert texture.frequency_shift is None
    assert "no noise" in texture.note


def test_another_grid_is_refused():
    with pytest.raises(InputError):
        measure_texture(block(), block(shape=(90, 80, 6)), everywhere(block()))
