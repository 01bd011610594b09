import pytest
import torch
from torch.distributions import Normal, kl_divergence

from ct_vae.errors import InputError
from ct_vae.models import DiagonalGaussian
from tests.models._small import noise

SHAPES = pytest.mark.parametrize("shape", [(3, 4, 7), (3, 4, 5, 6), (2, 6, 3, 4, 5)])


@SHAPES
def test_the_first_half_is_the_mean_and_the_second_the_log_variance(shape):
    moments = noise(*shape)
    half = shape[1] // 2
    posterior = DiagonalGaussian(moments)
    torch.testing.assert_close(posterior.mean, moments[:, :half], rtol=0, atol=0)
    torch.testing.assert_close(posterior.logvar, moments[:, half:], rtol=0, atol=0)
    torch.testing.assert_close(posterior.std**2, moments[:, half:].exp())
    torch.testing.assert_close(posterior.mode(), posterior.mean, rtol=0, atol=0)


@SHAPES
def test_kl_is_the_sum_over_elements_of_each_sample(shape):
    posterior = DiagonalGaussian(noise(*shape))
    pairwise = kl_divergence(Normal(posterior.mean, posterior.std), Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl(), pairwise.flatten(1).sum(1))
    assert posterior.kl().shape == shape[:1]


def test_kl_vanishes_for_the_unit_gaussian_only():
    assert DiagonalGaussian(torch.zeros(2, 4, 3)).kl().tolist() == [0.0, 0.0]
    assert DiagonalGaussian(noise(2, 4, 3)).kl().min() > 0


def test_log_variances_are_clamped():
    posterior = DiagonalGaussian(torch.tensor([0.0, 0.0, -100.0, 100.0]).view(1, 4, 1))
    assert posterior.logvar.flatten().tolist() == [-30.0, 20.0]
    assert posterior.kl().isfinite().all()


def test_a_sample_is_the_mean_plus_scaled_noise_of_the_generator():
    posterior = DiagonalGaussian(noise(2, 4, 3, 3))
    draws = [posterior.sample(torch.Generator().manual_seed(s)) for s in (7, 7, 8)]
    torch.testing.assert_close(draws[0], draws[1], rtol=0, atol=0)
    assert not torch.equal(draws[0], draws[2])
    expected = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(draws[0], posterior.mean + posterior.std * expected)


def test_a_generator_leaves_the_global_randomness_alone():
    before = torch.get_rng_state()
    DiagonalGaussian(noise(1, 2, 3)).sample(torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_have_the_mean_and_deviation_asked_for():
    moments = torch.tensor([2.0, 2 * torch.log(torch.tensor(0.5))]).view(1, 2, 1)
    draws = DiagonalGaussian(moments.expand(1, 2, 200_000)).sample(torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(2.0, abs=0.01)
    assert draws.std().item() == pytest.approx(0.5, abs=0.01)


def test_without_a_generator_the_noise_is_where_the_moments_are():
    before = torch.get_rng_state()
    assert DiagonalGaussian(torch.zeros(1, 2, 3, device="meta")).sample().device.type == "meta"
    # Nothing was drawn on the CPU and carried over.
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("given", "inside"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_nothing_is_computed_below_single_precision(given, inside):
    posterior = DiagonalGaussian(torch.full((1, 2, 3), 18.0, dtype=given))
    values = (posterior.mean, posterior.std, posterior.sample(), posterior.kl())
    assert {v.dtype for v in values} == {inside}
    # exp(18) is out of the range of float16.
    assert posterior.kl().isfinite().all()


@pytest.mark.parametrize("shape", [(1, 3, 2), (4,)])
def test_moments_that_cannot_be_halved_are_refused(shape):
    with pytest.raises(InputError, match="an even number of channels"):
        DiagonalGaussian(torch.zeros(shape))
