import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.losses.window import WindowLoss
from tests.losses._pairs import pair, slope_agrees


def test_it_is_the_error_of_what_a_screen_shows():
    a, b = pair(channels=2)
    shown = [np.clip((x.numpy() - 0.2) / 0.5, 0, 1) for x in (a, b)]
    expected = np.abs(shown[0] - shown[1]).mean()
    assert WindowLoss(0.2, 0.7)(a, b).item() == pytest.approx(expected, rel=1e-5)


def test_black_instead_of_white_counts_one():
    black, white = torch.full((1, 1, 4), -9.0), torch.full((1, 1, 4), 9.0)
    assert WindowLoss(-0.3, 0.1)(black, white).item() == pytest.approx(1)


def test_what_is_beyond_the_same_end_is_equal():
    a, b = 5 + pair()
    assert WindowLoss(0.0, 1.0)(a, b).item() == 0


def test_the_gradient_agrees_with_finite_differences():
    a, b = pair()
    assert slope_agrees(lambda x: WindowLoss(0.2, 0.7)(x, b.double()), a)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)])
def test_an_empty_window_is_refused(ends):
    with pytest.raises(ConfigError, match="from low to high"):
        WindowLoss(*ends)
