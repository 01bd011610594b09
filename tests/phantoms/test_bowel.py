import numpy as np
import pytest

from ct_vae.phantoms.bowel import colon, gas_above, small_bowel, stomach
from ct_vae.phantoms.scene import Layer
from ct_vae.phantoms.shapes import Blob
from ct_vae.phantoms.trunk import Tissue
from tests.phantoms._still import at, drawn

CAVITY = Blob((0, 6, 0), (130, 85, 300), None, 2.4, 4)
TISSUE = Tissue.draw(np.random.default_rng(0))


def rng():
    return np.random.default_rng(0)


def test_gas_is_in_front_and_inside_the_lumen():
    lumen = Blob((0, 0, 0), (40, 40, 40))
    picture = drawn([Layer(lumen, 20.0), gas_above(10.0, lumen)])
    assert at(picture, (0, 0, 0)) == pytest.approx(20)
    assert at(picture, (0, 25, 0)) == pytest.approx(-985)
    assert at(picture, (0, 60, 0)) == -1000


@pytest.mark.parametrize(
    "layers",
    [
        lambda: stomach(TISSUE, CAVITY, 130.0, rng()),
        lambda: small_bowel(TISSUE, CAVITY, rng()),
        lambda: colon(TISSUE, CAVITY, rng()),
    ],
)
def test_organs_have_walls_contents_and_gas_inside_the_cavity(layers):
    background = Layer(CAVITY, TISSUE.fat)
    picture, empty = drawn([background, *layers()]), drawn([background])
    changed = np.abs(picture - empty) > 1
    assert not changed[empty < -999].any()
    inside = picture[changed]
    assert (inside < -900).any()
    assert (np.abs(inside - TISSUE.bowel) < 15).any()
    assert ((inside > 0) & (inside < 60)).any()
    np.testing.assert_array_equal(picture, drawn([background, *layers()]))
