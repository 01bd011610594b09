import json

import numpy as np
import pytest
from scipy import ndimage
from scipy.optimize import brentq

from ct_vae.errors import ConfigError, InputError
from ct_vae.evaluation.probe.run import run_probe
from ct_vae.volume import Volume
from tests.evaluation._cases import volume_of

SPACING = 1.25
SIGMA_MM = 1.5


class Stub:
    def __init__(self, change):
        self.change = change

    def encode(self, volume):
        return volume

    def decode(self, latent):
        voxels = self.change(latent.voxels.astype(np.float32))
        return Volume(voxels.astype(np.float32), latent.grid)


def probed(change):
    result = run_probe(Stub(change), SPACING)
    json.dumps(result.as_dict(), allow_nan=False)
    return result


@pytest.fixture(scope="module")
def identity():
    return probed(lambda v: v)


@pytest.fixture(scope="module")
def blurred():
    return probed(lambda v: ndimage.gaussian_filter(v, SIGMA_MM / SPACING))


@pytest.fixture(scope="module")
def clipped():
    return probed(lambda v: v.clip(-1000, 1000))


def test_identity_is_limited_by_its_voxels(identity):
    for edge in identity.edges:
        # sinc(0.6034) = 0.5 and sinc(0.9070) = 0.1.
        assert edge.f50 == pytest.approx(0.6034 / SPACING, rel=0.02)
        assert edge.f10 == pytest.approx(0.9070 / SPACING, rel=0.02)
        assert (edge.f50_drawn, edge.f10_drawn) == (edge.f50, edge.f10)
        assert edge.contrast_measured_hu == pytest.approx(edge.contrast_hu, abs=0.5)
        assert edge.transfer[0] == 1


def test_identity_changes_nothing(identity):
    assert identity.linearity.slope == pytest.approx(1)
    assert identity.linearity.intercept_hu == pytest.approx(0, abs=1e-6)
    assert identity.linearity.max_error_hu == 0
    assert {nodule.error for nodule in identity.nodules} == {0}
    assert all(c.cnr == c.cnr_drawn for c in identity.contrasts)
    assert {pair.transfer for pair in identity.line_pairs} == {1, None}


@pytest.mark.parametrize(("level", "name"), [(0.5, "f50"), (0.1, "f10")])
def test_blur_has_the_gaussians_transfer(blurred, level, name):
    def excess(f):
        return np.exp(-2 * (np.pi * SIGMA_MM * f) ** 2) * np.sinc(f * SPACING) - level

    expected = brentq(excess, 0.01, 0.5)
    for edge in blurred.edges:
        assert getattr(edge, name) == pytest.approx(expected, rel=0.02)
        assert getattr(edge, name) < getattr(edge, name + "_drawn")


def test_blur_lowers_line_pairs_as_its_transfer(blurred):
    for pair in blurred.line_pairs:
        if pair.transfer is not None and pair.per_cm >= 1.5:
            expected = np.exp(-2 * (np.pi * SIGMA_MM * pair.per_cm / 10) ** 2)
            assert pair.transfer == pytest.approx(expected, abs=0.03)


def test_blur_shrinks_small_nodules_and_spares_noise_free_rods(blurred):
    by_size = {}
    for nodule in blurred.nodules:
        by_size.setdefault(nodule.diameter_mm, []).append(nodule.error)
    means = [np.mean(by_size[d]) for d in sorted(by_size)]
    assert means == sorted(means)
    assert means[0] < -0.7
    assert -0.3 < means[-1] < 0
    assert blurred.linearity.max_error_hu < 10
    assert all(c.cnr > 1.5 * c.cnr_drawn for c in blurred.contrasts)


def test_clip_shows_in_linearity_alone(clipped, identity):
    assert clipped.linearity.max_error_hu == 2000
    assert clipped.linearity.slope < 0.9
    drawn, measured = clipped.linearity.drawn_hu, clipped.linearity.measured_hu
    assert measured == pytest.approx(np.clip(drawn, -1000, 1000))
    assert clipped.edges[:-1] == identity.edges[:-1]
    assert clipped.edges[-1].contrast_measured_hu == pytest.approx(960)
    assert clipped.nodules == identity.nodules


def test_a_constant_loses_everything_without_infinity():
    result = probed(lambda v: np.full_like(v, 40))
    assert {(e.f50, e.f10, e.transfer) for e in result.edges} == {(None, None, ())}
    assert {n.error for n in result.nodules if n.background_hu == 40} == {-1}
    assert {c.cnr for c in result.contrasts} == {None}
    assert result.linearity.slope == pytest.approx(0, abs=1e-9)


def test_offset_is_the_intercept():
    line = probed(lambda v: 0.9 * v + 10).linearity
    assert line.intercept_hu == pytest.approx(10, abs=0.5)
    assert line.slope == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("spacing", [0, 0.1, 5, float("nan")])
def test_odd_spacings_are_refused(spacing):
    with pytest.raises(ConfigError, match="spacing"):
        run_probe(Stub(lambda v: v), spacing)


def test_a_model_that_changes_the_grid_is_refused():
    stub = Stub(lambda v: v)
    stub.decode = lambda latent: volume_of(np.zeros((4, 4, 4), np.float32))
    with pytest.raises(InputError):
        run_probe(stub, SPACING)
