import math

import numpy as np
import pytest
import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.losses.reconstruction import Reconstruction, bce_focal, reconstruction_loss
from tests.losses._pairs import pair, slope_agrees

NAMES = ("l1", "mse", "charbonnier", "bce", "bce_focal")


def banal(name: str, x: float, y: float) -> float:
    p = 1 / (1 + math.exp(-x))
    entropy = -(y * math.log(p) + (1 - y) * math.log(1 - p))
    return {
        "l1": abs(x - y),
        "mse": (x - y) ** 2,
        "charbonnier": math.hypot(x - y, 1e-3),
        "bce": entropy,
        "bce_focal": abs(y - p) ** 2 * entropy,
    }[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sides", [(7,), (3, 4), (2, 3, 4)])
def test_losses_are_means_over_voxels_in_any_number_of_dimensions(name, sides):
    a, b = pair(*sides, channels=3)
    a = 4 * a - 2
    expected = np.mean(
        [banal(name, x.item(), y.item()) for x, y in zip(a.flatten(), b.flatten(), strict=True)]
    )
    assert reconstruction_loss(name)(a, b).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_agree_with_finite_differences(name):
    a, b = pair()
    assert slope_agrees(lambda x: reconstruction_loss(name)(x, b.double()), 4 * a - 2)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 3.0])
def test_focal_gradients_agree_with_finite_differences(gamma):
    a, b = pair()
    assert slope_agrees(lambda x: bce_focal(x, b.double(), gamma), 4 * a - 2)


def test_focal_loss_without_focus_is_cross_entropy():
    a, b = pair()
    plain = nn.functional.binary_cross_entropy_with_logits(a, b)
    torch.testing.assert_close(bce_focal(a, b, 0.0), plain)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_focal_loss_is_least_where_the_share_is_right(gamma):
    b = pair()[0].clamp(0.05, 0.95)
    right = torch.logit(b)
    assert bce_focal(right, b, gamma).item() == pytest.approx(0, abs=1e-6)
    for shift in (-0.1, 0.1):
        assert bce_focal(right + shift, b, gamma) > 1e-5


def test_focal_loss_heeds_small_errors_less():
    target = torch.full((1, 1, 2), 0.5)
    near, far = torch.logit(torch.tensor([0.55])), torch.logit(torch.tensor([0.95]))
    ratio = {
        gamma: bce_focal(far, target[0, 0, :1], gamma) / bce_focal(near, target[0, 0, :1], gamma)
        for gamma in (0.0, 2.0)
    }
    torch.testing.assert_close(ratio[2.0] / ratio[0.0], torch.tensor((0.45 / 0.05) ** 2))


def test_far_logits_stay_finite():
    a = torch.tensor([-1e4, 1e4, 1e4]).requires_grad_()
    b = torch.tensor([1.0, 0.0, 1.0])
    for name in ("bce", "bce_focal"):
        loss = reconstruction_loss(name)(a, b)
        (slope,) = torch.autograd.grad(loss, a)
        assert loss.isfinite()
        assert slope.isfinite().all()


@pytest.mark.parametrize("name", ["l1", "mse", "charbonnier"])
def test_images_are_compared_after_the_activation(name):
    raw, target = pair()
    compare = Reconstruction(name, nn.Sigmoid())
    image = compare.image(raw)
    torch.testing.assert_close(image, torch.sigmoid(raw))
    torch.testing.assert_close(
        compare(raw, image, target), reconstruction_loss(name)(torch.sigmoid(raw), target)
    )


def test_logits_are_compared_before_the_activation_and_still_give_an_image():
    raw, target = pair()
    compare = Reconstruction("bce")
    image = compare.image(raw)
    torch.testing.assert_close(image, torch.sigmoid(raw))
    expected = nn.functional.binary_cross_entropy(torch.sigmoid(raw), target)
    torch.testing.assert_close(compare(raw, image, target), expected)


def test_without_an_activation_the_output_is_the_image():
    raw = pair()[0]
    assert Reconstruction("l1").image(raw) is raw


def test_the_focus_is_passed_on():
    raw, target = pair()
    compare = Reconstruction("bce_focal", focal_gamma=3.0)
    torch.testing.assert_close(compare(raw, raw, target), bce_focal(raw, target, 3.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: reconstruction_loss("l7"), "l1, mse, charbonnier, bce, bce_focal"),
        (lambda: reconstruction_loss("bce_focal", 0.5), "0 or at least 1, got 0.5"),
        (lambda: reconstruction_loss("bce_focal", -1), "0 or at least 1, got -1"),
        (lambda: Reconstruction("bce", nn.Identity()), "a sigmoid at its end, not Identity"),
        (lambda: Reconstruction("bce_focal", nn.Tanh()), "a sigmoid at its end, not Tanh"),
    ],
)
def test_invalid_shapes_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
