import numpy as np
import pytest
from scipy import ndimage

from ct_vae.evaluation.baselines.klt import fit_klt
from ct_vae.evaluation.rate_distortion.entropy import coded_bits
from ct_vae.evaluation.rate_distortion.methods import (
    KLT_STEPS,
    LATENT_STEPS,
    sweep_klt,
    sweep_latent,
)
from ct_vae.preprocess.pipeline import Preprocessor
from tests._small import ct_volume, small_codec
from tests.evaluation._cases import volume_of


@pytest.fixture(scope="module")
def small():
    codec, volume = small_codec(), ct_volume((16, 16, 12))
    return codec, volume, codec.encode(volume)


def test_latents_are_quantized_per_channel_at_multiples_of_the_spread(small):
    _codec, volume, latent = small
    spread = np.geomspace(0.01, 0.3, len(latent.array)).astype(np.float32)
    decoded = []
    found = list(sweep_latent(latent, spread, lambda z: decoded.append(z) or volume))
    assert [each.level for each in found] == list(LATENT_STEPS)
    for each, quantized in zip(found, decoded, strict=True):
        steps = each.level * spread[:, None, None, None]
        whole = quantized.array / steps
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)
        assert (np.abs(quantized.array - latent.array) <= 0.5001 * steps).all()
        assert each.bits == coded_bits(np.rint(whole).astype(np.int64))


def test_a_small_step_changes_nothing(small):
    codec, _, latent = small
    spread = np.full(len(latent.array), 1e-5, np.float32)
    first = next(sweep_latent(latent, spread, codec.decode))
    assert np.abs(first.volume.voxels - codec.decode(latent).voxels).max() < 0.5


def test_errors_of_klt_coefficients_are_those_of_voxels():
    """As an orthonormal transform has them; air would be clipped."""
    rng = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(rng.normal(0, 900, (16, 16, 12)), 1)
    volume = volume_of(rough.astype(np.float32))
    code = fit_klt(volume, Preprocessor(), (4, 4, 4), 3)
    exact = code.decode(code.coefficients).voxels.astype(float)
    for each in sweep_klt(code, 2.0):
        step = 2 * each.level
        rounded = np.rint(code.coefficients / step) * step
        expected = 1000 * np.sqrt(np.square(rounded - code.coefficients).sum() / volume.voxels.size)
        found = np.sqrt(np.square(each.volume.voxels - exact).mean())
        assert found == pytest.approx(expected, rel=0.02, abs=0.5)
    assert each.level == KLT_STEPS[-1]
