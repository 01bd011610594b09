import numpy as np
import pytest

from ct_vae.phantoms.head import head
from tests.phantoms._still import drawn


@pytest.fixture(scope="module")
def picture():
    return drawn(head(np.random.default_rng(0)).layers, 240.0, 3.0)


def test_the_brain_is_inside_the_skull(picture):
    middle = picture[40, :, 42]
    bone = np.flatnonzero(middle > 600)
    assert bone[-1] - bone[0] > 45
    inner = picture[30:50, 30:50, 42:50]
    assert 10 < np.median(inner) < 45
    assert ((inner > 0) & (inner < 60)).mean() > 0.9


def test_there_is_air_in_the_sinuses_and_fat_in_the_orbits(picture):
    face = picture[25:55, 50:68, 18:36]
    assert (face < -900).mean() > 0.01
    assert ((face > -110) & (face < -80)).mean() > 0.01
    assert (face > 500).mean() > 0.01


def test_a_scene_follows_from_its_generator():
    first, again, other = (head(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.pose.phases, again.pose.phases)
    assert not np.array_equal(first.pose.phases, other.pose.phases)
    assert first.size_mm == other.size_mm == (210.0, 250.0, 224.0)
