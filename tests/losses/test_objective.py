import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.losses.objective import Objective
from ct_vae.losses.reconstruction import reconstruction_loss
from ct_vae.models import DiagonalGaussian


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, 1, 3, 4, 5, generator=generator)


@pytest.mark.parametrize(
    ("name", "banal"), [("l1", lambda e: e.abs().mean()), ("mse", lambda e: (e * e).mean())]
)
def test_losses_are_means_over_voxels(name, banal):
    a, b = pair()
    torch.testing.assert_close(reconstruction_loss(name)(a, b), banal(a - b))


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="l1, mse"):
        reconstruction_loss("l7")


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_the_total_is_the_weighted_sum(weight):
    a, b = pair()
    posterior = DiagonalGaussian(torch.randn(2, 8, 2, 2, 2))
    terms = Objective("mse", {"kl": weight})(a, b, {"kl": posterior.kl().mean()})
    expected = (a - b).square().mean() + weight * posterior.kl().mean()
    torch.testing.assert_close(terms.total, expected)
    torch.testing.assert_close(terms.regularisers["kl"], posterior.kl().mean())


def test_the_gradient_agrees_with_finite_differences():
    a, b = pair().double()
    moments = torch.randn(2, 4, 2, 2, dtype=torch.float64)

    def total(reconstruction, m):
        return Objective("mse", {"kl": 0.3})(
            reconstruction, b, {"kl": DiagonalGaussian(m).kl().mean()}
        ).total

    small = (a[:, :, :1, :2, :2].contiguous(), moments)
    b = b[:, :, :1, :2, :2]
    # The loss is computed in float32 by design, so steps are coarse and bounds wide.
    assert torch.autograd.gradcheck(
        total, [v.requires_grad_() for v in small], eps=1e-2, atol=2e-3, rtol=1e-2
    )


def test_half_precision_is_compared_in_float32():
    a, b = pair().bfloat16()
    assert Objective("l1", {})(a, b, {}).total.dtype == torch.float32


def test_every_regulariser_has_its_weight():
    a, b = pair()
    losses = {"commitment": torch.tensor(2.0), "entropy": torch.tensor(-3.0)}
    weights = {"kl": 100.0, "commitment": 0.25, "entropy": 0.1}
    terms = Objective("mse", weights)(a, b, losses)
    torch.testing.assert_close(terms.total, (a - b).square().mean() + 0.5 - 0.3)
    with pytest.raises(ConfigError, match=r"no weight for the terms \['entropy'\]"):
        Objective("mse", {"commitment": 1.0})(a, b, losses)
