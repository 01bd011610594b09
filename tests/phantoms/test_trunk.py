import numpy as np
import pytest

from ct_vae.phantoms.shapes import Blob
from ct_vae.phantoms.skeleton import Bone
from ct_vae.phantoms.trunk import Tissue, Trunk, back_muscles, couch, ribs
from tests.phantoms._still import at, drawn

TRUNK = Trunk(*(Blob((0, 0, 0), (r, r, 400), None, 2, 4) for r in (120.0, 100.0, 80.0)))


def tissue(seed=0):
    return Tissue.draw(np.random.default_rng(seed))


def test_tissues_are_ordered_as_in_contrast_ct():
    for seed in range(20):
        found = tissue(seed)
        assert found.lung < found.fat < 0 < found.muscle < found.liver < found.kidney
        assert found.heart < found.blood < found.bone.marrow_hu
        assert found.bone.marrow_hu < found.bone.cortex_hu
    assert tissue(0) == tissue(0) != tissue(1)


def test_fat_is_between_skin_and_muscle():
    picture = drawn(TRUNK.layers(tissue(), np.random.default_rng(0)))
    assert at(picture, (0, 110, 0)) == pytest.approx(tissue().fat)
    assert at(picture, (0, 97, 0)) == pytest.approx(tissue().muscle)
    assert at(picture, (0, 60, 0)) == pytest.approx(tissue().muscle)
    assert at(picture, (0, 125, 0)) == -1000


def test_the_couch_is_behind_and_hollow():
    picture = drawn(couch(-50.0))
    assert at(picture, (0, -46, 0)) == -1000
    assert at(picture, (0, -62, 0)) == pytest.approx(-940)
    assert -900 < picture[50, 32:35, 50].max() <= -250
    # It rises towards its edges.
    assert at(picture, (130, -50, 0)) > -1000


def test_muscles_of_the_back_and_ribs_are_on_both_sides():
    muscles = drawn(back_muscles(tissue(), 30.0, 1.0, 200.0))
    np.testing.assert_allclose(muscles, muscles[::-1], atol=1)
    assert at(muscles, (24, -8, 0)) == pytest.approx(tissue().muscle + 3)
    heads = [(25.0, -60.0, z) for z in (-40.0, 0.0, 40.0)]
    found = drawn(ribs(Bone(900.0, 250.0), TRUNK.wall, heads, (20.0,) * 3, 0.7))
    np.testing.assert_allclose(found, found[::-1], atol=1)
    assert (found > 500).any()
