import pytest

from ct_vae.config.model import ModelConfig
from ct_vae.training.reporting.bit_rate import bits_per_voxel


@pytest.mark.parametrize(
    ("model", "bits"),
    [
        # Four int16 for each 4 x 4 x 4 block.
        (ModelConfig(ch_mult=(1, 2, 4)), 4 * 16 / 64),
        (ModelConfig(ch_mult=(1, 2, 4), spatial_dims=2), 4 * 16 / 16),
        (ModelConfig(ch_mult=(1, 2, 4), strides=((2, 2, 1), 2)), 4 * 16 / 32),
        # One of 2^13 codes for each block.
        (ModelConfig(ch_mult=(1, 2, 4), latent_type="vq", codebook_size=8192), 13 / 64),
        (ModelConfig(ch_mult=(1, 2), latent_type="magvit", quantizer="lfq", embed_dim=10), 10 / 8),
    ],
)
def test_bits_are_those_of_the_file(model, bits):
    assert bits_per_voxel(model) == pytest.approx(bits)
