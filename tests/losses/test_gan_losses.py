import numpy as np
import pytest
import torch
from monai.losses import PatchAdversarialLoss

from ct_vae.errors import ConfigError
from ct_vae.losses.gan_losses import gan_loss
from tests.models._small import noise

NAMES = ("hinge", "least_squares", "non_saturating")
SIDES = ("real", "fake", "generator")


def softplus(x):
    return np.log1p(np.exp(x))


BANAL = {
    "hinge": {
        "real": lambda x: np.maximum(0, 1 - x),
        "fake": lambda x: np.maximum(0, 1 + x),
        "generator": lambda x: -x,
    },
    "least_squares": {
        "real": lambda x: (x - 1) ** 2,
        "fake": lambda x: x**2,
        "generator": lambda x: (x - 1) ** 2,
    },
    "non_saturating": {
        "real": lambda x: softplus(-x),
        "fake": softplus,
        "generator": lambda x: softplus(-x),
    },
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", SIDES)
def test_every_side_is_a_mean_over_patches(name, side):
    logits = 2 * noise(2, 1, 3, 4)
    expected = BANAL[name][side](logits.double().numpy()).mean()
    assert getattr(gan_loss(name), side)(logits).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", SIDES)
def test_gradients_agree_with_finite_differences(name, side):
    logits = (2 * noise(2, 1, 3, 4)).double().requires_grad_()
    assert torch.autograd.gradcheck(getattr(gan_loss(name), side), logits)


@pytest.mark.parametrize(
    ("name", "criterion"), [("least_squares", "least_squares"), ("non_saturating", "bce")]
)
def test_monai_agrees(name, criterion):
    peer = PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)
    logits, own = noise(2, 1, 3, 4), gan_loss(name)
    for value, real, judging in [
        (own.real(logits), True, True),
        (own.fake(logits), False, True),
        (own.generator(logits), True, False),
    ]:
        torch.testing.assert_close(value, peer(logits, real, for_discriminator=judging))


def test_monai_agrees_on_hinges_without_its_tangent():
    peer = PatchAdversarialLoss(criterion="hinge")
    peer.activation = None
    logits, own = 2 * noise(2, 1, 3, 4), gan_loss("hinge")
    torch.testing.assert_close(own.real(logits), peer(logits, True, for_discriminator=True))
    torch.testing.assert_close(own.fake(logits), peer(logits, False, for_discriminator=True))


def test_far_logits_stay_finite():
    logits = torch.tensor([-1e4, 1e4])
    for name in NAMES:
        assert all(getattr(gan_loss(name), side)(logits).isfinite() for side in SIDES)


def test_an_unknown_game_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'chess' is not one of hinge, least_squares"):
        gan_loss("chess")
