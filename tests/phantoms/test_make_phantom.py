import numpy as np
import pytest

from ct_vae.errors import ConfigError
from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import PHANTOM_ANATOMIES, make_phantom

COARSE_MM = 6.0
LUNG_BELOW_HU = -500


@pytest.fixture(scope="module")
def noisy_thorax():
    return make_phantom("thorax", 3, 3.0)


@pytest.fixture(scope="module")
def clean_thorax():
    return make_phantom("thorax", 3, 3.0, noise_hu=0.0)


@pytest.mark.parametrize("anatomy", PHANTOM_ANATOMIES)
def test_default_field_of_view_shows_the_anatomy(anatomy):
    volume = make_phantom(anatomy, 0, COARSE_MM)
    assert volume.voxels.dtype == np.int16
    assert volume.voxels.min() >= -1024
    assert volume.grid.axcodes == "RAS"
    np.testing.assert_allclose(volume.grid.spacing_mm, COARSE_MM)
    assert np.array(volume.grid.shape) * COARSE_MM == pytest.approx([300] * 3, rel=0.35)
    center = volume.grid.to_world((np.array(volume.grid.shape) - 1) / 2)
    assert np.abs(center[:2]).max() < 10
    body = body_mask(volume)
    assert not body.note
    assert 0.25 < body.voxels.mean() < 0.85


def test_tissues_have_their_hounsfield_units(clean_thorax):
    voxels = clean_thorax.voxels
    histogram = np.histogram(voxels, bins=[-1024, -950, -780, -120, -85, 0, 175, 3071])[0]
    air, lung, _, fat, _, soft, bone = histogram / voxels.size
    assert min(air, lung, soft) > 0.1
    assert min(fat, bone) > 0.02


def test_same_arguments_give_the_same_bytes():
    first, second = (make_phantom("head", 5, COARSE_MM) for _ in range(2))
    assert first.grid == second.grid
    np.testing.assert_array_equal(first.voxels, second.voxels)


@pytest.mark.parametrize("anatomy", PHANTOM_ANATOMIES)
def test_seeds_differ_in_anatomy(anatomy):
    a, b = (make_phantom(anatomy, seed, COARSE_MM, (40, 40, 8), 0.0) for seed in (0, 1))
    assert np.abs(a.voxels.astype(float) - b.voxels).mean() > 30


def test_two_spacings_show_the_same_patient():
    coarse = make_phantom("thorax", 3, 6.0, (60, 46, 20), noise_hu=0.0)
    fine = make_phantom("thorax", 3, 3.0, (120, 92, 40), noise_hu=0.0)
    assert coarse.grid.distance_mm(fine.grid.coarsen(2)) < 1e-9
    blocks = fine.voxels.reshape(60, 2, 46, 2, 20, 2).mean(axis=(1, 3, 5))
    error = blocks - coarse.voxels
    assert abs(error.mean()) < 3
    assert error.std() < 0.06 * blocks.std()


def test_anisotropic_spacing_and_given_shape_keep_the_center():
    volume = make_phantom("abdomen", 1, (2.5, 4.0, 9.0), shape=(41, 30, 5))
    assert volume.grid.shape == (41, 30, 5)
    np.testing.assert_allclose(volume.grid.spacing_mm, (2.5, 4.0, 9.0))
    whole = make_phantom("abdomen", 1, 30.0)
    centers = [v.grid.to_world((np.array(v.grid.shape) - 1) / 2) for v in (volume, whole)]
    np.testing.assert_allclose(*centers)


def test_one_voxel_is_a_volume():
    assert make_phantom("thorax", 0, 3.0, shape=(1, 1, 1)).voxels.shape == (1, 1, 1)


def test_noise_has_the_stated_deviation_everywhere_in_the_body(noisy_thorax, clean_thorax):
    noise = noisy_thorax.voxels.astype(float) - clean_thorax.voxels
    body = body_mask(clean_thorax).voxels
    assert noise[body].std() == pytest.approx(20, rel=0.02)
    assert abs(noise[body].mean()) < 0.5
    for tissue in (clean_thorax.voxels < LUNG_BELOW_HU, clean_thorax.voxels > 0):
        assert noise[body & tissue].std() == pytest.approx(20, rel=0.03)
    for cut in (np.s_[:3], np.s_[-3:]):
        assert noise[cut][clean_thorax.voxels[cut] > -900].std() == pytest.approx(20, rel=0.1)


def test_noise_is_low_pass_and_independent_of_the_patient():
    fine = [make_phantom("abdomen", 2, 1.0, (60, 60, 40), noise_hu=n).voxels for n in (30.0, 0.0)]
    noise = fine[0].astype(float) - fine[1]
    assert noise.std() == pytest.approx(30, rel=0.03)
    for axis in range(3):
        ahead = np.take(noise, range(1, noise.shape[axis]), axis)
        behind = np.take(noise, range(noise.shape[axis] - 1), axis)
        # A Gaussian of 1 mm makes neighbors 1 mm apart correlate by exp(-1/4).
        assert np.corrcoef(ahead.ravel(), behind.ravel())[0, 1] == pytest.approx(0.78, abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("leg", 0), "thorax"),
        (("thorax", -1), "seed"),
        (("thorax", 0, 0.0), "0.1"),
        (("thorax", 0, (2.0, 2.0, float("nan"))), "nan"),
        (("thorax", 0, 2.0, (4, 4)), "shape"),
        (("thorax", 0, 2.0, (0, 4, 4)), "shape"),
        (("thorax", 0, 2.0, None, -5.0), "noise"),
    ],
)
def test_impossible_phantoms_are_refused(arguments, word):
    with pytest.raises(ConfigError, match=word):
        make_phantom(*arguments)
