import numpy as np
import pytest

from ct_vae.phantoms.brain import brain, skull
from ct_vae.phantoms.shapes import Blob
from tests.phantoms._still import at, drawn

VAULT = Blob((0, -6, 8), (71, 89, 73), None, 2.2, 2.2)
SIZE_MM = 200.0


@pytest.fixture(scope="module")
def picture():
    return drawn([*skull(VAULT, 1000.0), *brain(VAULT, np.random.default_rng(0))], SIZE_MM, 2.0)


def test_the_skull_has_two_tables_around_the_diploe():
    profile = drawn(skull(VAULT, 1000.0), SIZE_MM, 1.0)[100, 94:, 108]
    outside = np.flatnonzero(profile > -500).max()
    shell = profile[outside - 7 : outside + 1]
    assert shell.max() > 900
    assert shell[2:5].min() < 700
    assert profile[0] == pytest.approx(14)


def test_tissues_are_those_of_a_brain_without_contrast(picture):
    inside = np.zeros(picture.shape, bool)
    axis = np.arange(picture.shape[0]) * 2.0 - SIZE_MM / 2 + 1
    points = np.float32(np.meshgrid(axis, axis, axis, indexing="ij"))
    inside = VAULT.grown(-12).level(points) < 0
    values = picture[inside]
    csf, white, gray = ((values > a) & (values < b) for a, b in ((5, 20), (26, 33), (34, 45)))
    assert csf.mean() > 0.03
    assert white.mean() > 0.2
    assert gray.mean() > 0.2
    assert (csf | white | gray).mean() > 0.8


def test_ventricles_hold_csf_and_the_falx_is_in_the_middle(picture):
    for side in (-1, 1):
        assert at(picture, (side * 8, 4, 22), SIZE_MM) == pytest.approx(8, abs=6)
    # Below the falx there is only CSF between the hemispheres.
    above, below = picture[49:51, 20:25, 66:78], picture[49:51, 20:25, 57:59]
    assert np.median(above) > np.median(below) + 5
