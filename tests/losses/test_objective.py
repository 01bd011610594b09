import functools

import pytest
import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.losses.adversarial import AdversarialWarmup, Adversary
from ct_vae.losses.gradient import gradient_loss
from ct_vae.losses.kl import KLLoss
from ct_vae.losses.objective import Objective
from ct_vae.losses.perceptual import PerceptualDistance
from ct_vae.losses.reconstruction import Reconstruction, reconstruction_loss
from ct_vae.losses.window import WindowLoss
from ct_vae.models import DiagonalGaussian
from tests.losses._pairs import pair, small_discriminator
from tests.losses._vgg import random_vgg16
from tests.models._small import noise

WEIGHTS = {
    "kl": 0.3,
    "commitment": 0.25,
    "entropy": 0.1,
    "window_lung": 0.5,
    "gradient": 2.0,
    "perceptual": 0.7,
    "adversarial": 0.2,
    "feature_matching": 0.4,
}
# It is frozen, so that all tests can share it.
network = functools.cache(random_vgg16)
KINDS = ("l1", "mse", "charbonnier", "bce", "bce_focal")


def kl(seed=0):
    return DiagonalGaussian(noise(2, 4, 2, 2, seed=seed)).kl_elements()


def opponent(**parts):
    return Adversary(small_discriminator(spatial_dims=2), match_features=True, **parts)


def full(kind="mse", limit=None):
    """Every term that there is, on two-dimensional images."""
    return Objective(
        Reconstruction(kind),
        WEIGHTS,
        {"window_lung": WindowLoss(0.2, 0.7), "gradient": gradient_loss},
        PerceptualDistance(network(), (0.0, 1.0), 1.0),
        KLLoss("sum", 100),
        opponent(warmup=AdversarialWarmup(40, 40), adaptive_limit=limit),
    )


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_the_total_is_the_weighted_sum(weight):
    a, b = pair()
    terms = Objective(Reconstruction("mse"), {"kl": weight})(a, b, {"kl": kl()}, 0)
    expected = (a - b).square().mean() + weight * kl().mean()
    torch.testing.assert_close(terms.total, expected)
    assert terms.weights == {"reconstruction": 1.0, "kl": weight}
    torch.testing.assert_close(terms.values["kl"], kl().mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_term_is_on_view_and_adds_up(kind):
    a, b = pair(16, 16)
    objective = full(kind)
    raw = 4 * a - 2
    terms = objective(raw, b, {"kl": kl(), "commitment": torch.tensor(2.0)}, 50)
    image = torch.sigmoid(raw) if "bce" in kind else raw
    told = objective.adversary.generator_terms(image, b)
    expected = {
        "reconstruction": (1.0, reconstruction_loss(kind)(raw, b)),
        "window_lung": (0.5, WindowLoss(0.2, 0.7)(image, b)),
        "gradient": (2.0, gradient_loss(image, b)),
        "perceptual": (0.7, PerceptualDistance(network(), (0.0, 1.0), 1.0)(image, b, 0)),
        "kl": (0.15, kl().sum() / 2),
        "commitment": (0.25, torch.tensor(2.0)),
        "adversarial": (0.05, told["adversarial"]),
        "feature_matching": (0.1, told["feature_matching"]),
    }
    assert terms.values.keys() == expected.keys()
    for name, (weight, value) in expected.items():
        assert terms.weights[name] == pytest.approx(weight)
        torch.testing.assert_close(terms.values[name], value)
    torch.testing.assert_close(terms.total, sum(w * v for w, v in expected.values()))
    torch.testing.assert_close(objective.image(raw), image)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_finite_differences(kind):
    a, b = pair(8, 4, batch=1).double()
    objective = Objective(
        Reconstruction(kind),
        WEIGHTS,
        {"window_lung": WindowLoss(0.2, 0.7), "gradient": gradient_loss},
        adversary=opponent().double(),
    )

    def total(raw, moments):
        posterior = DiagonalGaussian(moments)
        return objective(raw, b, {"kl": posterior.kl_elements()}, 0).total

    moments = noise(1, 4, 2, 2).double()
    assert torch.autograd.gradcheck(
        total, [(2 * a - 1).requires_grad_(), moments.requires_grad_()], atol=1e-6
    )


def test_a_regularizer_that_a_model_does_not_have_says_nothing():
    a, b = pair(5, 6)
    plain = Objective(Reconstruction("l1"), {"kl": 0.3})(a, b, {"kl": kl()}, 0)
    more = Objective(Reconstruction("l1"), WEIGHTS)(a, b, {"kl": kl()}, 0)
    assert torch.equal(plain.total, more.total)
    assert more.values.keys() == {"reconstruction", "kl"}


def test_the_weight_of_the_divergence_grows():
    a, b = pair(5, 6)
    objective = Objective(Reconstruction("l1"), {"kl": 0.3}, kl_loss=KLLoss("mean", 100))
    weights = [objective(a, b, {"kl": kl()}, seen).weights["kl"] for seen in (0, 50, 100, 500)]
    assert weights == [0.0, 0.15, 0.3, 0.3]


def test_before_its_entrance_an_adversary_changes_nothing():
    a, b = pair(8, 8)
    alone = Objective(Reconstruction("l1"), WEIGHTS)
    judge = opponent(warmup=AdversarialWarmup(10))
    later = Objective(Reconstruction("l1"), WEIGHTS, adversary=judge)
    assert torch.equal(alone(a, b, {}, 9).total, later(a, b, {}, 9).total)
    assert "adversarial" not in later(a, b, {}, 9).values
    assert "adversarial" in later(a, b, {}, 10).values


def test_the_adaptive_weight_compares_gradients_of_all_that_compares_images():
    x, target = pair(16, 16)
    layer = nn.Conv2d(1, 1, 3, padding=1)
    objective, moments = full(limit=1e9), noise(2, 4, 2, 2).requires_grad_()
    posterior = DiagonalGaussian(moments)
    raw = layer(x)
    terms = objective(raw, target, {"kl": posterior.kl_elements()}, 80, layer.weight)
    compared = sum(
        terms.weights[name] * terms.values[name]
        for name in ("reconstruction", "window_lung", "gradient", "perceptual")
    )
    norms = [
        torch.autograd.grad(term, layer.weight, retain_graph=True)[0].norm()
        for term in (compared, terms.values["adversarial"])
    ]
    expected = 0.2 * (norms[0] / (norms[1] + 1e-4)).item()
    assert terms.weights["adversarial"] == pytest.approx(expected, rel=1e-4)
    assert terms.weights["feature_matching"] == pytest.approx(0.4)
    terms.total.backward()
    assert layer.weight.grad.isfinite().all()


def test_the_generators_turn_leaves_the_discriminator_untouched():
    x, target = pair(16, 16)
    layer, objective = nn.Conv2d(1, 1, 3, padding=1), full(limit=10.0)
    judge = objective.adversary
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    objective(layer(x), target, {}, 80, layer.weight).total.backward()
    assert all(torch.equal(before[name], value) for name, value in judge.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in judge.parameters())


def test_gradients_of_the_adaptive_weight_are_averaged_over_ranks():
    x, target = pair(16, 16)
    layer, seen = nn.Conv2d(1, 1, 3, padding=1), []

    def reduce(gradient):
        seen.append(gradient.shape)
        return gradient * torch.tensor([1.0, 2.0]).view(2, *[1] * layer.weight.ndim)

    plain = full(limit=1e9)(layer(x), target, {}, 80, layer.weight).weights["adversarial"]
    other = full(limit=1e9)(layer(x), target, {}, 80, layer.weight, reduce).weights["adversarial"]
    assert seen == [(2, *layer.weight.shape)]
    # The adversary's gradient comes second and was doubled.
    assert other == pytest.approx(plain / 2, rel=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_terms_are_finite_float32_of_what_came_in(kind):
    a, b = pair(16, 16)
    layer, objective = nn.Conv2d(1, 1, 3, padding=1), full(kind, limit=10.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        raw = layer(a)
        terms = objective(raw, b, {"kl": kl().bfloat16()}, 50, layer.weight)
    assert raw.dtype == torch.bfloat16
    for value in (terms.total, *terms.values.values()):
        assert value.dtype == torch.float32
        assert value.isfinite()
    expected = reconstruction_loss(kind)(raw.float(), b)
    assert torch.equal(terms.values["reconstruction"], expected)
    assert objective.image(raw).dtype == torch.float32


def test_every_term_has_its_weight():
    a, b = pair(8, 8)
    losses = {"commitment": torch.tensor(2.0), "entropy": torch.tensor(-3.0)}
    with pytest.raises(ConfigError, match=r"no weight for the terms \['entropy'\]"):
        Objective(Reconstruction("mse"), {"commitment": 1.0})(a, b, losses, 0)
    with pytest.raises(ConfigError, match=r"\['adversarial', 'feature_matching'\]"):
        Objective(Reconstruction("mse"), {}, adversary=opponent())(a, b, {}, 0)
