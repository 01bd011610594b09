import numpy as np
import pytest

from ct_vae.phantoms.abdomen import abdomen
from tests.phantoms._still import drawn


@pytest.fixture(scope="module")
def picture():
    return drawn(abdomen(np.random.default_rng(0)).layers, 400.0, 5.0)


def test_the_liver_is_on_the_right(picture):
    high = picture[:, :, 50:60]
    organ = (high > 85) & (high < 125)
    assert organ[40:].sum() > 2 * organ[:40].sum()


def test_vessels_with_contrast_run_in_front_of_the_spine(picture):
    # A few centimeters around the middle, in front of the vertebrae.
    vessels = picture[34:46, 24:44, 20:60]
    blood = (vessels > 120) & (vessels < 190)
    assert blood.any(axis=(0, 1)).all()


def test_there_is_gas_bone_fat_and_lung(picture):
    inside = picture[10:70, 20:60, 10:70]
    for low, high in ((-1000, -900), (-900, -700), (-115, -90), (40, 70), (250, 1100)):
        assert ((inside > low) & (inside < high)).mean() > 0.001


def test_a_scene_follows_from_its_generator():
    first, again, other = (abdomen(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.pose.phases, again.pose.phases)
    assert not np.array_equal(first.pose.phases, other.pose.phases)
    assert first.size_mm == other.size_mm == (380.0, 280.0, 300.0)
