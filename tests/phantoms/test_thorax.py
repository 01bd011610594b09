import numpy as np
import pytest

from ct_vae.masks import body_mask
from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.phantoms.thorax import thorax

COARSE_MM = 6.0
BONE_ABOVE_HU = 200  # without noise, above contrast blood (at most 170 HU)
LUNG_BELOW_HU = -500


def test_lungs_are_on_both_sides_and_the_heart_on_the_left():
    volume = make_phantom("thorax", 2, 4.0, noise_hu=0.0)
    middle = [n // 2 for n in volume.grid.shape]
    low = volume.voxels[..., middle[2]] < LUNG_BELOW_HU
    right, left = low[middle[0] :].mean(), low[: middle[0]].mean()
    assert min(right, left) > 0.1
    heart = volume.voxels[:, middle[1] :, middle[2] - 12]
    soft = (heart > 60) & (heart < 200)
    assert soft[: middle[0]].sum() > soft[middle[0] :].sum()


def test_a_scene_follows_from_its_generator():
    first, again, other = (thorax(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.size_mm == other.size_mm == (360.0, 280.0, 300.0)
    np.testing.assert_array_equal(first.pose.center_mm, again.pose.center_mm)
    assert not np.array_equal(first.pose.center_mm, other.pose.center_mm)
    assert len(first.layers) == len(again.layers)


@pytest.mark.parametrize("seed", range(6))
def test_lungs_and_bone_hold_their_share_of_the_body(seed):
    volume = make_phantom("thorax", seed, COARSE_MM, noise_hu=0.0)
    inside = volume.voxels[body_mask(volume).voxels]
    assert (inside < LUNG_BELOW_HU).mean() >= 0.20
    assert (inside > BONE_ABOVE_HU).mean() >= 0.03
