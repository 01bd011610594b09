"""Random latents: seeded one by one, scaled as measured, decoded as any latent is."""

import numpy as np
import pytest

from ct_vae.config.model_folder import LatentConfig
from ct_vae.errors import ConfigError
from ct_vae.inference.random_latents import RandomLatents
from ct_vae.preprocess.pipeline import Preprocessor
from tests._small import SMALL_CODES, SMALL_MODEL, small_codec

MEASURED = LatentConfig(scaling_factor=1.0, mean=(0.0, 1.0, -2.0, 5.0), std=(1.0, 0.5, 2.0, 0.0))
STEPS = (1.0, 2.0, 3.0)
BASES = {"kl": SMALL_MODEL, **SMALL_CODES}
KIND = pytest.mark.parametrize("kind", BASES)


def latents(kind="kl", statistics=MEASURED, **changes):
    return RandomLatents(small_codec(base=BASES[kind], **changes), statistics)


@KIND
def test_a_latent_is_a_function_of_seed_and_number(kind):
    size = (16, 16, 16)
    one, again = (latents(kind).draw(size, STEPS, 3, 7).array for _ in range(2))
    np.testing.assert_array_equal(one, again)
    for seed, index in ((3, 8), (4, 7), (7, 3)):
        assert not np.array_equal(one, latents(kind).draw(size, STEPS, seed, index).array)


def test_noise_has_the_measured_mean_and_deviation_of_each_channel():
    array = latents().draw((64, 64, 64), STEPS, 0, 0).array
    assert array.shape == (4, 16, 16, 16)
    np.testing.assert_allclose(array.mean((1, 2, 3)), MEASURED.mean, atol=0.15)
    np.testing.assert_allclose(array.std((1, 2, 3)), MEASURED.std, atol=0.1)


@pytest.mark.parametrize("kind", SMALL_CODES)
def test_codes_are_those_of_the_codebook_and_all_as_likely(kind):
    codec = small_codec(base=SMALL_CODES[kind])
    size = codec.network.model.codebook_size
    array = RandomLatents(codec, MEASURED).draw((80, 80, 80), STEPS, 0, 0).array
    assert array.shape == (20, 20, 20)
    assert 0 <= array.min() < 0.05 * size
    assert 0.95 * size < array.max() < size
    assert array.mean() == pytest.approx((size - 1) / 2, rel=0.03)


@KIND
@pytest.mark.parametrize("size", [(8, 12, 16), (5, 9, 16)])
def test_decoded_latents_have_the_size_rounded_up_and_hu_of_the_window(kind, size):
    codec = small_codec(base=BASES[kind])
    volume = codec.decode(RandomLatents(codec, MEASURED).draw(size, STEPS, 0, 0))
    assert volume.grid.shape == (8, 12, 16)
    assert volume.grid.spacing_mm == STEPS
    assert volume.derived
    assert volume.voxels.min() >= -1000
    assert volume.voxels.max() <= 1000
    np.testing.assert_allclose(volume.grid.corners_mm().mean(0), 0, atol=1e-9)


def test_axes_are_those_of_the_preprocessing():
    codec = small_codec()
    codec.preprocessor = Preprocessor(axcodes="SPL")
    volume = codec.decode(RandomLatents(codec, MEASURED).draw((4, 8, 12), STEPS, 0, 0))
    assert volume.grid.axcodes == "SPL"
    assert volume.grid.shape == (4, 8, 12)
    assert volume.grid.spacing_mm == STEPS


def test_a_flat_model_decodes_slice_by_slice():
    codec = small_codec(spatial_dims=2)
    latent = RandomLatents(codec, MEASURED).draw((8, 7, 3), STEPS, 0, 0)
    assert latent.array.shape == (4, 2, 2, 3)
    assert codec.decode(latent).grid.shape == (8, 8, 3)


@pytest.mark.parametrize("missing", [{"mean": None}, {"std": None}, {"mean": (0.0,)}])
def test_without_statistics_noise_is_refused_and_codes_are_not(missing):
    statistics = MEASURED.model_copy(update=missing)
    with pytest.raises(ConfigError, match="no measured mean and standard deviation"):
        latents("kl", statistics)
    latents("vq", statistics).draw((4, 4, 4), STEPS, 0, 0)


@pytest.mark.parametrize(
    ("size", "steps", "message"),
    [
        ((8, 0, 8), STEPS, "not positive"),
        ((40_000, 8, 8), STEPS, "too large"),
        ((3_000, 3_000, 3_000), STEPS, "too large"),
        ((8, 8, 8), (1.0, float("nan"), 1.0), "not positive"),
        ((8, 8, 8), (1.0, float("inf"), 1.0), "not positive"),
        ((8, 8, 8), (1.0, -1.0, 1.0), "not positive"),
    ],
)
def test_sizes_and_spacings_of_no_volume_are_refused(size, steps, message):
    with pytest.raises(ConfigError, match=message):
        latents().draw(size, steps, 0, 0)
