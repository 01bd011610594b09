from dataclasses import replace

import numpy as np
import pytest
import torch

from ct_vae.grid import Grid
from ct_vae.io import read_latent, write_latent
from ct_vae.io.latent.storage import store
from ct_vae.volume import Volume
from tests._small import ct_volume, small_codec


def test_the_response_predicts_the_change_by_rounding():
    codec = small_codec()
    with torch.no_grad():
        # Narrow beside the latent, as that of a trained model is.
        codec.network.model.quant_conv.bias[codec.network.model.latent_channels :] = -12
    rng = np.random.default_rng(0)
    volume = Volume(
        rng.uniform(-900, 900, (40, 36, 33)).astype(np.int16), Grid((40, 36, 33), np.eye(4))
    )
    latent = codec.encode(volume, response=True)
    response = latent.record.step_response
    assert response.crop == (10, 9, 9)
    window = codec.preprocessor.scale.window_hu
    clipped = np.clip(volume.voxels.astype(np.float64), *window)
    exact = codec.decode(latent).voxels
    # Padding is part of the crop, and not of the volume.
    assert response.rmse_hu == pytest.approx(np.sqrt(np.mean((exact - clipped) ** 2)), rel=0.1)
    for step in (0.5, 1.0, 3.0):
        rounded = replace(latent, array=store(latent, "coded", step).values())
        change = codec.decode(rounded).voxels - exact
        found = np.sqrt(np.mean(change.astype(np.float64) ** 2))
        assert found == pytest.approx(step * response.change_hu, rel=0.35)


def test_a_crop_is_taken_of_large_latents():
    volume = ct_volume((80, 16, 20))
    assert small_codec().encode(volume, response=True).record.step_response.crop == (12, 4, 5)


def test_the_latent_is_the_same_and_codes_have_no_response():
    codec, volume = small_codec(), ct_volume()
    plain = codec.encode(volume)
    np.testing.assert_array_equal(codec.encode(volume, response=True).array, plain.array)
    assert plain.record.step_response is None


def test_a_response_is_written_and_read(tmp_path):
    latent = small_codec().encode(ct_volume(), response=True)
    written = write_latent(latent, tmp_path / "a.latz")
    assert read_latent(tmp_path / "a.latz").record.step_response == latent.record.step_response
    assert written.record.quantisation.rmse_rise > 0
