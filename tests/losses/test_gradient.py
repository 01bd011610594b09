import numpy as np
import pytest
import torch

from ct_vae.losses.gradient import gradient_loss
from tests.losses._pairs import pair, slope_agrees


@pytest.mark.parametrize("sides", [(7,), (3, 4), (3, 4, 5)])
def test_it_is_the_mean_over_axes_of_errors_of_differences(sides):
    a, b = pair(*sides, channels=2)
    axes = range(2, 2 + len(sides))
    banal = np.mean(
        [np.abs(np.diff(a.numpy(), axis=i) - np.diff(b.numpy(), axis=i)).mean() for i in axes]
    )
    assert gradient_loss(a, b).item() == pytest.approx(banal, rel=1e-5)


def test_an_offset_has_no_edges_and_a_step_has_one():
    a = torch.zeros(1, 1, 4, 4)
    assert gradient_loss(a + 3, a).item() == 0
    step = a.clone()
    step[..., 2:] = 1
    # One of three differences along one of two axes.
    assert gradient_loss(step, a).item() == pytest.approx(1 / 3 / 2)


def test_an_axis_of_one_voxel_does_not_count():
    a, b = pair(4, 1)
    torch.testing.assert_close(gradient_loss(a, b), gradient_loss(a[..., 0], b[..., 0]))
    assert gradient_loss(*pair(1)).item() == 0


def test_the_gradient_agrees_with_finite_differences():
    a, b = pair()
    assert slope_agrees(lambda x: gradient_loss(x, b.double()), a)
