import numpy as np
import pytest

from ct_vae.io.latent.entropy.lattice import lattice_passes
from ct_vae.io.latent.entropy.prediction import (
    CHANNELS_BEFORE,
    CONTEXTS,
    LARGEST,
    LARGEST_ACTIVITY,
    Neighborhood,
    fit_weights,
    magnitudes_of,
)


def _last_pass(values, magnitude=0):
    """Neighbors and values of the voxels that the last pass adds, and its known voxels."""
    step = list(lattice_passes(values.shape[1:], (0, 1, 2)))[-1]
    known, added = step.view(values, step.known), step.view(values, step.added)
    magnitudes = np.full(known.shape, magnitude, np.uint16)
    return Neighborhood.of(known, magnitudes, slice(0, len(added))), added, known


def _sizes(added):
    return np.zeros((len(added), CHANNELS_BEFORE + added.shape[1], *added.shape[2:]), np.uint16)


def test_a_linear_field_is_predicted_exactly_inside():
    x, y, z = np.meshgrid(*map(np.arange, (9, 9, 9)), indexing="ij")
    values = np.stack([8 * x + 4 * y - 6 * z, 2 * z]).astype(np.int32)
    near, target, known = _last_pass(values)
    weights = fit_weights(known, target)
    np.testing.assert_array_equal(near.predict(weights)[1:-1], target[1:-1])
    # Both pairs of neighbors have the mean of the target.
    np.testing.assert_array_equal(weights.sum(axis=1), [32, 32])


def test_noise_is_predicted_by_its_mean():
    rng = np.random.default_rng(0)
    values = rng.integers(-50, 50, (1, 16, 16, 16)).astype(np.int32)
    _, target, known = _last_pass(values)
    assert np.abs(fit_weights(known, target)).max() <= 2


def test_weights_of_channels_do_not_depend_on_other_channels():
    rng = np.random.default_rng(0)
    values = rng.integers(-50, 50, (3, 10, 12, 30)).astype(np.int32).cumsum(axis=3, dtype=np.int32)
    _, target, known = _last_pass(values)
    each = [fit_weights(known[:, k : k + 1], target[:, k : k + 1])[0] for k in range(3)]
    np.testing.assert_array_equal(fit_weights(known, target), each)


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_slabs_have_the_neighbors_of_the_whole_pass(rows):
    rng = np.random.default_rng(0)
    values = rng.integers(-50, 50, (2, 3, 4, 13)).astype(np.int32)
    whole, added, known = _last_pass(values, 3)
    magnitudes = np.full(known.shape, 3, np.uint16)
    for start in range(0, len(added), rows):
        at = slice(start, min(start + rows, len(added)))
        part = Neighborhood.of(known, magnitudes, at)
        for name in ("near", "far", "activity"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[at])


def test_contexts_grow_with_differences_and_residuals():
    found = []
    for slope, residual in [(0, 0), (1, 0), (0, 1), (40, 3), (LARGEST, LARGEST_ACTIVITY)]:
        values = np.zeros((1, 2, 2, 3), np.int32)
        values[..., 2] = slope
        near, added, _ = _last_pass(values, residual)
        found.append(int(near.contexts(0, _sizes(added)).max()))
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == CONTEXTS - 1


def test_contexts_grow_with_the_residuals_of_the_two_channels_before():
    near, added, _ = _last_pass(np.zeros((4, 2, 2, 3), np.int32))
    sizes = _sizes(added)
    sizes[:, CHANNELS_BEFORE] = 10
    found = [int(near.contexts(channel, sizes).max()) for channel in range(4)]
    assert found[0] == found[3] == 0
    assert found[1] > found[2] > 0


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_values_do_not_overflow(sign):
    values = np.full((1, 4, 4, 8), sign * LARGEST, np.int32)
    near, added, _ = _last_pass(values, LARGEST_ACTIVITY)
    extreme = near.predict(np.array([[127, 127]], np.int8))
    np.testing.assert_array_equal(extreme, sign * LARGEST)
    sizes = np.full_like(_sizes(added), LARGEST_ACTIVITY)
    assert near.contexts(0, sizes).min() == CONTEXTS - 1


def test_magnitudes_end_where_contexts_do():
    residuals = np.array([0, -3, 65534, -65535, 65536, 1 << 21, -(1 << 21)], np.int32)
    expected = [0, 3, 65534, 65535, 65535, 65535, 65535]
    np.testing.assert_array_equal(magnitudes_of(residuals), expected)
