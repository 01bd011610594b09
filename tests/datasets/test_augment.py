from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ct_vae.config.data import AugmentConfig
from ct_vae.datasets.augment import Augmentation, resampled
from ct_vae.datasets.cache.stored_volume import StoredVolume, count_body
from ct_vae.datasets.patches import cut
from ct_vae.volume import AIR_HU

SPACING = (0.8, 0.8, 2.5)
SIDES = np.array([12, 10, 8])
CORNER = np.array([9, 8, 7])


def smooth(shape=(32, 30, 24)):
    """Values that vary slowly, from -400 to 400 HU."""
    axes = [np.linspace(0, 3, n) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return (400 * np.sin(x + 0.5 * y) * np.cos(z)).astype(np.int16)


def cutter(voxels):
    stored = StoredVolume(voxels.shape, SPACING, count_body(voxels), _voxels=voxels)
    return partial(cut, stored)


def augmented(seed=0, voxels=None, flat=False, spacing=SPACING, sides=SIDES, **changes):
    source = smooth() if voxels is None else voxels
    augmentation = Augmentation(AugmentConfig(**changes), flat)
    return augmentation(cutter(source), CORNER, sides, spacing, np.random.default_rng(seed))


def plain():
    return torch.from_numpy(cutter(smooth())(CORNER, SIDES))


def test_all_is_off_by_default():
    for seed in range(20):
        patch = augmented(seed)
        assert patch.dtype == torch.int16
        assert torch.equal(patch, plain())


@given(st.integers(0, 1000), st.tuples(*[st.sampled_from([0.0, 1.0])] * 3))
def test_certain_flips_mirror_exactly_these_axes(seed, shares):
    expected = plain().numpy()
    for axis, share in enumerate(shares):
        expected = np.flip(expected, axis) if share else expected
    np.testing.assert_array_equal(augmented(seed, flip=shares).numpy(), expected)


def test_flips_happen_as_often_as_their_chance_and_independently():
    chances = (0.1, 0.5, 0.8)
    ramp = np.arange(3 * 3 * 3, dtype=np.int16).reshape(3, 3, 3)
    augmentation = Augmentation(AugmentConfig(flip=chances))
    rows = []
    for seed in range(1500):
        patch = augmentation(
            cutter(ramp), np.zeros(3, int), np.full(3, 3), SPACING, np.random.default_rng(seed)
        )
        rows.append(
            [
                bool(
                    patch[1, 1, 1] == 13 and patch[tuple(2 * (np.arange(3) == a))] < patch[0, 0, 0]
                )
                for a in range(3)
            ]
        )
    found = np.array(rows, float)
    # Four standard errors of a share of 1500.
    np.testing.assert_allclose(found.mean(0), chances, atol=0.052)
    assert abs(np.corrcoef(found[:, 1], found[:, 2])[0, 1]) < 0.1


def matrix_of(degrees, zoom, spacing):
    """From steps in the patch to steps in the source, in voxels, written the long way."""
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    to_mm, to_voxels = np.diag(spacing), np.diag(1 / np.asarray(spacing))
    return to_voxels @ turn @ to_mm @ np.diag(zoom)


@given(
    st.tuples(*[st.floats(-45, 45)] * 3),
    st.tuples(*[st.floats(0.6, 1.5)] * 3),
    st.tuples(*[st.integers(-4, 26)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
)
def test_resampling_agrees_with_scipy(degrees, zoom, corner, sides):
    """On float64, over a source with air around it."""
    voxels, corner, sides = smooth(), np.array(corner), np.array(sides)
    matrix = matrix_of(degrees, zoom, SPACING)
    found = resampled(cutter(voxels), corner, sides, matrix).numpy()
    margin = 40
    padded = np.pad(voxels.astype(float), margin, constant_values=AIR_HU)
    centre = corner + (sides - 1) / 2 + margin
    offset = centre - matrix @ ((sides - 1) / 2)
    expected = ndimage.affine_transform(
        padded, matrix, offset, tuple(sides), order=1, mode="nearest"
    )
    # A step from body to air is 1400 HU within a voxel, and float32 places to a part in 1e6.
    np.testing.assert_allclose(found, expected, atol=0.05)


@given(st.integers(0, 10_000))
def test_hu_keep_their_meaning(seed):
    """A uniform body stays at its value, and nothing leaves the range of the source."""
    changes = {"rotate_degrees": 20.0, "zoom": 0.3, "resample_share": 1.0, "flip": (0.5,) * 3}
    uniform = augmented(seed, np.full((60, 60, 60), 57, np.int16), **changes)
    torch.testing.assert_close(uniform, torch.full_like(uniform, 57.0), atol=1e-3, rtol=0)
    patch = augmented(seed, **changes)
    assert patch.min() >= AIR_HU - 1e-3
    assert patch.max() <= smooth().max() + 1e-3


@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 1.0), SPACING]))
def test_a_turned_ball_stays_a_ball(seed, spacing):
    """Rotation is one in millimetres: whatever the spacing, a centred ball looks the same."""
    sides = np.array([24, 24, 12]) if spacing == SPACING else np.array([24, 24, 24])
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(sides, spacing, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    ball = (1000 * np.exp(-(x**2 + y**2 + z**2) / 30) - 1000).astype(np.int16)
    augmentation = Augmentation(AugmentConfig(rotate_degrees=30.0, resample_share=1.0))
    rng = np.random.default_rng(seed)
    turned = augmentation(cutter(ball), np.zeros(3, int), sides, spacing, rng).numpy()
    inside = tuple(slice(n // 4, n - n // 4) for n in sides)
    # Interpolation is off by an eighth of the curvature, here 67 HU per mm^2, times the step^2.
    bound = 67 / 8 * np.sum(np.square(spacing)) + 1
    assert np.abs(turned[inside] - ball[inside]).max() <= bound


def test_a_rotation_turns_a_known_object_by_the_drawn_angle():
    """A rod along x is found at the angle that the same draws give."""
    voxels = np.full((41, 41, 41), -1000, np.int16)
    voxels[:, 20, 20] = 1000
    sides = np.full(3, 41)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        augmentation = Augmentation(AugmentConfig(rotate_degrees=25.0, resample_share=1.0))
        patch = augmentation(cutter(voxels), np.zeros(3, int), sides, (1, 1, 1), rng).numpy()
        draws = np.random.default_rng(seed)
        draws.random()
        degrees = draws.uniform(-1, 1, 3) * 25
        axis = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix().T @ [1, 0, 0]
        weight = np.clip(patch + 1000, 0, None)
        points = np.argwhere(weight > 200) - 20.0
        values = weight[weight > 200]
        moments = (points * values[:, None]).T @ points
        found = np.linalg.eigh(moments)[1][:, -1]
        assert abs(found @ axis) > np.cos(np.radians(1.0))


@pytest.mark.parametrize("flat", [False, True])
def test_zoom_changes_sizes_by_at_most_its_share_in_both_directions(flat):
    """The width of a ramp tells the factor; slices of a 2-D patch keep theirs."""
    ramp = np.broadcast_to(np.arange(200, dtype=np.int16)[:, None, None], (200, 60, 60))
    along = np.broadcast_to(np.arange(60, dtype=np.int16), (200, 60, 60))
    sides = np.array([21, 21, 1 if flat else 21])
    factors = []
    for seed in range(300):

        def patch(source, seed=seed):
            augmentation = Augmentation(AugmentConfig(zoom=0.25, resample_share=1.0), flat)
            rng = np.random.default_rng(seed)
            corner = np.array([90, 20, 20])
            return augmentation(cutter(source), corner, sides, SPACING, rng)

        x = patch(ramp)
        factors.append(float(x[20, 0, 0] - x[0, 0, 0]) / 20)
        assert float(x[10, 10, sides[2] // 2]) == pytest.approx(100, abs=1e-2)
        if flat:
            torch.testing.assert_close(patch(along), torch.full((21, 21, 1), 20.0))
    assert min(factors) == pytest.approx(1 / 1.25, abs=0.01)
    assert max(factors) == pytest.approx(1.25, abs=0.01)
    assert np.mean(np.log(factors)) == pytest.approx(0, abs=0.03)


def test_axes_are_zoomed_apart_on_request():
    """Widths of ramps along two axes tell the factors of each."""
    sides = np.array([21, 21, 21])
    config = AugmentConfig(zoom=0.4, resample_share=1.0, zoom_axes="apart")
    ramps = [
        np.broadcast_to(np.arange(90, dtype=np.int16).reshape(shape), (90, 90, 90))
        for shape in ((90, 1, 1), (1, 90, 1))
    ]
    factors = []
    for seed in range(100):
        draws = [
            Augmentation(config)(
                cutter(ramp), np.array([35] * 3), sides, SPACING, np.random.default_rng(seed)
            )
            for ramp in ramps
        ]
        ends = (draws[0][20, 0, 0] - draws[0][0, 0, 0], draws[1][0, 20, 0] - draws[1][0, 0, 0])
        factors.append([float(width) / 20 for width in ends])
    logs = np.log(factors)
    assert np.abs(logs).max() <= np.log(1.4) + 1e-3
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.35
    assert logs.std() > 0.15


def test_a_slice_turns_in_its_plane():
    along = np.broadcast_to(np.arange(60, dtype=np.int16), (60, 60, 60))
    for seed in range(20):
        patch = augmented(
            seed,
            along,
            flat=True,
            sides=np.array([9, 9, 1]),
            rotate_degrees=40.0,
            resample_share=1.0,
        )
        torch.testing.assert_close(patch, torch.full((9, 9, 1), float(CORNER[2])))


def test_the_share_of_resampled_patches_is_as_asked_and_the_others_are_the_source():
    same = [
        torch.equal(augmented(seed, rotate_degrees=10.0, resample_share=0.3), plain().float())
        for seed in range(400)
    ]
    assert np.mean(same) == pytest.approx(0.7, abs=4 * (0.21 / 400) ** 0.5)


def test_a_share_of_nothing_resamples_nothing():
    assert torch.equal(augmented(rotate_degrees=10.0, zoom=0.2, resample_share=0.0), plain())


def test_noise_is_white_centred_and_of_a_size_drawn_from_zero_up():
    sizes = []
    for seed in range(200):
        noise = (augmented(seed, noise_hu=30.0) - plain()).numpy()
        sizes.append(noise.std())
        assert abs(noise.mean()) < 4.5 * noise.std() / noise.size**0.5
        assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.15
    assert np.min(sizes) < 2
    assert 28 < np.max(sizes) < 32
    assert np.mean(sizes) == pytest.approx(15, abs=4 * 30 / 12**0.5 / 200**0.5)
