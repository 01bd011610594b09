import numpy as np
import pytest
from scipy import ndimage

from ct_vae.evaluation.baselines.klt import fit_klt
from ct_vae.evaluation.rate_distortion.methods import (
    KLT_STEPS,
    LATENT_STEPS,
    sweep_klt,
    sweep_latent,
)
from ct_vae.io import read_latent, write_latent
from ct_vae.io.latent.entropy.rounding import round_cheaply
from ct_vae.preprocess.pipeline import Preprocessor
from tests._small import ct_volume, small_codec
from tests.evaluation._cases import volume_of


@pytest.fixture(scope="module")
def small():
    codec, volume = small_codec(), ct_volume((16, 16, 12))
    return codec, volume, codec.encode(volume)


def test_each_step_is_that_of_a_coded_file(small, tmp_path):
    _, volume, latent = small
    decoded = []
    found = list(sweep_latent(latent, lambda z: decoded.append(z) or volume))
    assert [each.level for each in found] == list(LATENT_STEPS)
    for each, given in zip(found, decoded, strict=True):
        path = tmp_path / "a_latent.latz"
        write_latent(latent, path, "coded", step=each.level)
        np.testing.assert_array_equal(given.array, read_latent(path).array)
        assert each.bits == 8 * path.stat().st_size


def test_errors_of_klt_coefficients_are_those_of_voxels(small):
    """As an orthonormal transform has them; air would be clipped."""
    record = small[2].record
    rng = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(rng.normal(0, 900, (16, 16, 12)), 1)
    volume = volume_of(rough.astype(np.float32))
    code = fit_klt(volume, Preprocessor(), (4, 4, 4), 3)
    exact = code.decode(code.coefficients).voxels.astype(float)
    for each in sweep_klt(code, 2.0, record):
        step = 2 * each.level
        integers = np.rint(code.coefficients / step).astype(np.int32)
        round_cheaply(code.coefficients, [step] * 3, integers)
        rounded = integers * step
        expected = 1000 * np.sqrt(np.square(rounded - code.coefficients).sum() / volume.voxels.size)
        found = np.sqrt(np.square(each.volume.voxels - exact).mean())
        assert found == pytest.approx(expected, rel=0.02, abs=0.5)
    assert each.level == KLT_STEPS[-1]
