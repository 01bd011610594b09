import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ct_vae.errors import ConfigError
from ct_vae.losses.kl import KLLoss, ramp
from ct_vae.models.posterior import DiagonalGaussian


def posterior(*sides: int) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(2, 6, *sides, generator=torch.Generator().manual_seed(1)))


def textbook(p: DiagonalGaussian) -> torch.Tensor:
    return kl_divergence(Normal(p.mean, p.std), Normal(0.0, 1.0))


@pytest.mark.parametrize("sides", [(5,), (2, 3), (2, 3, 4)])
def test_reductions_are_those_of_the_textbook_divergence(sides):
    p = posterior(*sides)
    elements = textbook(p)
    torch.testing.assert_close(p.kl_elements(), elements)
    torch.testing.assert_close(KLLoss("mean")(p.kl_elements()), elements.mean())
    torch.testing.assert_close(KLLoss("sum")(p.kl_elements()), elements.sum() / 2)


def test_the_sum_is_that_of_the_posterior():
    p = posterior(2, 3, 4)
    assert torch.equal(KLLoss("sum")(p.kl_elements()), p.kl().mean())


def test_the_mean_does_not_depend_on_the_size_and_the_sum_does():
    kl = posterior(2, 3).kl_elements()
    twice = torch.cat([kl, kl], dim=2)
    torch.testing.assert_close(KLLoss("mean")(twice), KLLoss("mean")(kl))
    torch.testing.assert_close(KLLoss("sum")(twice), 2 * KLLoss("sum")(kl))


def test_the_gradient_agrees_with_finite_differences():
    moments = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    for reduction in ("mean", "sum"):
        assert torch.autograd.gradcheck(
            lambda m, kind=reduction: KLLoss(kind)(DiagonalGaussian(m).kl_elements()), moments
        )


@pytest.mark.parametrize(
    ("samples", "length", "share"),
    [(0, 0, 1.0), (7, 0, 1.0), (0, 10, 0.0), (5, 10, 0.5), (10, 10, 1.0), (99, 10, 1.0)],
)
def test_a_ramp_goes_from_zero_to_one(samples, length, share):
    assert ramp(samples, length) == share
    assert KLLoss(anneal_samples=length).annealing_factor(samples) == share


@pytest.mark.parametrize(
    ("numbers", "message"),
    [({"reduction": "max"}, "mean or sum, got 'max'"), ({"anneal_samples": -1}, "0 or more")],
)
def test_what_makes_no_sense_is_refused(numbers, message):
    with pytest.raises(ConfigError, match=message):
        KLLoss(**numbers)
