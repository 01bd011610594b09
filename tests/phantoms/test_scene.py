import numpy as np
import pytest

from ct_vae.phantoms.make_phantom import make_phantom
from ct_vae.phantoms.scene import Layer as Painted
from ct_vae.phantoms.scene import Scene, grow_tree, mottle, random_pose, render, waves
from ct_vae.phantoms.shapes import Blob
from tests.phantoms._still import still

COARSE_MM = 6.0


def test_later_layers_hide_earlier_ones_and_stay_inside_their_mask():
    ball, half = Blob((0, 0, 0), (20, 20, 20)), Blob((0, 0, 25), (25, 25, 25), power_z=4)
    layers = (Painted(ball, 0.0), Painted(half, 500.0, ball), Painted(ball.grown(-12), 900.0))
    picture = render(Scene(still(), (60.0, 60.0, 60.0), layers), (60, 60, 60), (1.0, 1.0, 1.0))
    assert picture[30, 30, 30] == pytest.approx(900)
    assert picture[30, 30, 45] == pytest.approx(500)
    assert picture[30, 30, 15] == pytest.approx(0)
    assert picture[30, 30, 55] == pytest.approx(-1000)


def test_slabs_leave_no_seam(monkeypatch):
    whole = make_phantom("head", 1, COARSE_MM, (35, 42, 12), 0.0).voxels
    monkeypatch.setattr("ct_vae.phantoms.scene._SLAB_VOXELS", 1)
    sliced = make_phantom("head", 1, COARSE_MM, (35, 42, 12), 0.0).voxels
    assert np.abs(whole - sliced).max() <= 1


def test_trees_double_their_branches_and_thin_by_murrays_law():
    tree = grow_tree(np.random.default_rng(0), (0, 0, 0), (1, 0, 0), 30.0, 4.0, 5)
    assert len(tree.starts) == 2 * (2**5 - 1)
    radii = sorted(set(np.round(tree.radii[:, 0], 6)), reverse=True)
    expected = sorted([4 * 2 ** (-g / 3) * f for g in range(5) for f in (1, 0.93)], reverse=True)
    np.testing.assert_allclose(radii, np.round(expected, 6))


def test_waves_have_mean_0_and_deviation_1():
    points = np.float32(np.random.default_rng(1).uniform(-2000, 2000, (3, 60_000)))
    field = waves(np.random.default_rng(0), 30.0, 6)(points)
    assert field.mean() == pytest.approx(0, abs=0.02)
    assert field.std() == pytest.approx(1, abs=0.02)
    paint = mottle(np.random.default_rng(0), 40.0, 10.0, 20.0)(points)
    assert (paint.mean(), paint.std()) == pytest.approx((40, 10), rel=0.03)


def test_poses_are_drawn_around_a_center():
    poses = [random_pose(np.random.default_rng(seed), (0.0, 0.0, -380.0)) for seed in range(20)]
    offsets = np.array([pose.center_mm - (0, 0, -380) for pose in poses])
    assert np.abs(offsets).max() <= 4
    assert len({tuple(o) for o in offsets.tolist()}) == 20
    for pose in poses:
        np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)
        assert np.trace(pose.rotation) > 2.9
