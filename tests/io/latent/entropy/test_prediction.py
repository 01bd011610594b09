import numpy as np
import pytest

from ct_vae.io.latent.entropy.lattice import lattice_passes
from ct_vae.io.latent.entropy.prediction import CONTEXTS, LARGEST, Neighborhood


def _last_pass(shape):
    return list(lattice_passes(shape, (0, 1, 2)))[-1]


def test_a_linear_field_is_predicted_exactly_inside():
    x, y, z = np.meshgrid(*map(np.arange, (9, 9, 9)), indexing="ij")
    values = np.stack([8 * x + 4 * y - 6 * z, 2 * z]).astype(np.int32)
    step = _last_pass((9, 9, 9))
    near = Neighborhood.of(step, values, np.zeros_like(values))
    target = step.view(values, step.added)
    weights = near.fit(target)
    np.testing.assert_array_equal(near.predict(weights)[1:-1], target[1:-1])
    # Both pairs of neighbors have the mean of the target.
    np.testing.assert_array_equal(weights.sum(axis=1), [32, 32])


def test_noise_is_predicted_by_its_mean():
    rng = np.random.default_rng(0)
    values = rng.integers(-50, 50, (1, 16, 16, 16)).astype(np.int32)
    step = _last_pass((16, 16, 16))
    near = Neighborhood.of(step, values, np.zeros_like(values))
    assert np.abs(near.fit(step.view(values, step.added))).max() <= 2


def test_contexts_grow_with_differences_and_residuals():
    step = _last_pass((2, 2, 3))
    found = []
    for slope, residual in [(0, 0), (1, 0), (0, 1), (40, 3), (LARGEST, 2 * LARGEST)]:
        values = np.zeros((1, 2, 2, 3), np.int32)
        values[..., 2] = slope
        magnitudes = np.full_like(values, residual)
        found.append(int(Neighborhood.of(step, values, magnitudes).contexts(0, values).max()))
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == CONTEXTS - 1


def test_contexts_grow_with_the_residuals_of_the_two_channels_before():
    values = np.zeros((4, 2, 2, 3), np.int32)
    near = Neighborhood.of(_last_pass((2, 2, 3)), values, values)
    sizes = np.zeros_like(near.near)
    sizes[:, 0] = 10
    found = [int(near.contexts(channel, sizes).max()) for channel in range(4)]
    assert found[0] == found[3] == 0
    assert found[1] > found[2] > 0


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_values_do_not_overflow(sign):
    values = np.full((1, 4, 4, 8), sign * LARGEST, np.int32)
    near = Neighborhood.of(_last_pass((4, 4, 8)), values, np.full_like(values, 2 * LARGEST))
    extreme = near.predict(np.array([[127, 127]], np.int8))
    np.testing.assert_array_equal(extreme, sign * LARGEST)
