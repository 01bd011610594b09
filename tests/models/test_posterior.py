import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ct_vae.models.posterior import DiagonalGaussian

SIDES = [(5,), (4, 5), (3, 4, 5)]


def moments(sides, dtype=torch.float32):
    return torch.randn(2, 6, *sides, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("sides", SIDES)
def test_kl_is_that_of_torch_distributions_per_element(sides):
    posterior = DiagonalGaussian(moments(sides))
    divergence = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl(), divergence.flatten(1).mean(1))


def test_the_unit_gaussian_has_no_divergence():
    assert DiagonalGaussian(torch.zeros(3, 8, 2, 2)).kl().tolist() == [0, 0, 0]


@pytest.mark.parametrize("sides", SIDES)
def test_samples_follow_the_generator_and_the_distribution(sides):
    posterior = DiagonalGaussian(moments(sides))
    first, again, other = (posterior.sample(torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == posterior.mean.shape
    draws = torch.stack([posterior.sample() for _ in range(2000)])
    torch.testing.assert_close(draws.mean(0), posterior.mean, atol=0.5, rtol=0)
    ratio = draws.std(0) / posterior.std
    assert 0.9 < ratio.min() < ratio.max() < 1.1


def test_extreme_log_variances_are_clamped():
    posterior = DiagonalGaussian(torch.tensor([[[0.0], [1e6]], [[0.0], [-1e6]]]))
    assert posterior.logvar.flatten().tolist() == [20, -30]
    assert torch.isfinite(posterior.kl()).all()


def test_half_precision_is_widened_and_double_is_kept():
    assert DiagonalGaussian(moments((4,), torch.bfloat16)).mean.dtype == torch.float32
    assert DiagonalGaussian(moments((4,), torch.float64)).kl().dtype == torch.float64


def test_the_mode_is_the_mean():
    posterior = DiagonalGaussian(moments((4,)))
    assert torch.equal(posterior.mode(), posterior.mean)
