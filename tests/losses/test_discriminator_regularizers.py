import numpy as np
import pytest
import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.losses.discriminator_regularizers import (
    LeCamLogitEMA,
    Penalties,
    identity_reduce,
    r1_penalty,
)
from ct_vae.models.discriminator import DiscriminatorOutput
from tests.losses._pairs import small_discriminator
from tests.models._small import noise


class Linear(nn.Module):
    """One logit for each voxel, twice its channels' weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -3.0]))

    def forward(self, x: torch.Tensor) -> DiscriminatorOutput:
        return DiscriminatorOutput(2 * torch.einsum("bc...,c->b...", x, self.weight)[:, None], ())


def one_logit(x: torch.Tensor) -> DiscriminatorOutput:
    """One logit for each image: half its sum of squares."""
    return DiscriminatorOutput(x.square().flatten(1).sum(1, keepdim=True) / 2, ())


@pytest.mark.parametrize("sides", [(3,), (2, 3), (2, 3, 4)])
def test_the_slope_of_a_linear_verdict_is_its_weight_at_any_size(sides):
    model = Linear()
    penalty = r1_penalty(model, noise(3, 2, *sides))
    # A logit's gradient is (2, -6) at its own voxel.
    assert penalty.item() == pytest.approx(40, rel=1e-6)
    penalty.backward()
    torch.testing.assert_close(model.weight.grad, torch.tensor([8.0, -24.0]))


def test_with_one_logit_per_image_it_is_the_squared_norm_of_the_gradient():
    x = noise(3, 1, 2, 4)
    expected = x.square().flatten(1).sum(1).mean()
    torch.testing.assert_close(r1_penalty(one_logit, x), expected)


def test_the_slope_is_that_of_finite_differences():
    discriminator, x = small_discriminator(spatial_dims=1).double(), noise(1, 1, 8).double()
    step, logits = 1e-6, discriminator(x).logits
    nudged = x + step * torch.eye(8, dtype=torch.float64)[:, None]
    slopes = (discriminator(nudged).logits.flatten(1).sum(1) - logits.sum()) / step
    expected = slopes.square().sum() / logits.numel()
    torch.testing.assert_close(r1_penalty(discriminator, x), expected, rtol=1e-4, atol=1e-8)


def test_the_slope_pulls_at_weights_and_not_at_images():
    discriminator, x = small_discriminator(), noise(1, 1, 8, 8, 8).requires_grad_()
    r1_penalty(discriminator, x).backward()
    assert x.grad is None
    assert discriminator.stem[0].weight.grad.abs().max() > 0


def test_under_autocast_the_slope_is_that_of_float32():
    discriminator, x = small_discriminator(), noise(1, 1, 8, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = r1_penalty(discriminator, x.bfloat16().float())
    assert torch.equal(low, r1_penalty(discriminator, x.bfloat16().float()))


def follow(averages, steps, reduce=identity_reduce, parts=1):
    for place, (real, fake) in enumerate(steps):
        averages.begin(4 * place)
        for a, b in zip(real.chunk(parts), fake.chunk(parts), strict=True):
            averages.gather(a, b, reduce)
    averages.begin(4 * len(steps))


def logits(count=5):
    return [(1 + noise(4, 1, 3, seed=i), -1 + noise(4, 1, 3, seed=99 + i)) for i in range(count)]


def test_averages_decay_from_the_first_step_on():
    averages = LeCamLogitEMA(decay=0.9)
    steps = logits()
    follow(averages, steps)
    expected = [value.mean().item() for value in steps[0]]
    for pair in steps[1:]:
        expected = [0.9 * e + 0.1 * v.mean().item() for e, v in zip(expected, pair, strict=True)]
    np.testing.assert_allclose(averages.means.numpy(), expected, rtol=1e-5)
    assert averages.steps.item() == 5


def test_averages_do_not_depend_on_how_a_batch_is_split():
    whole, split = LeCamLogitEMA(), LeCamLogitEMA()
    follow(whole, logits())
    follow(split, logits(), parts=4)
    torch.testing.assert_close(split.means, whole.means)
    assert split.steps.item() == whole.steps.item()


def test_uneven_parts_count_by_their_samples():
    averages, (real, fake) = LeCamLogitEMA(), logits(1)[0]
    averages.begin(0)
    averages.gather(real[:3], fake[:3], identity_reduce)
    averages.gather(real[3:], fake[3:], identity_reduce)
    averages.begin(4)
    torch.testing.assert_close(averages.means, torch.stack([real.mean(), fake.mean()]))


def test_averages_are_those_over_all_ranks():
    averages = LeCamLogitEMA()
    follow(averages, logits(1), reduce=lambda means: means + 10)
    expected = torch.stack([value.mean() for value in logits(1)[0]]) + 10
    torch.testing.assert_close(averages.means, expected)


def test_a_step_enters_the_averages_when_the_next_begins():
    averages, (real, fake) = LeCamLogitEMA(), logits(1)[0]
    averages.begin(0)
    averages.gather(real, fake, identity_reduce)
    averages.begin(0)
    assert averages.steps.item() == 0
    assert averages.penalty(real, fake).item() == 0


def test_averages_go_on_after_a_state_in_the_middle_of_a_step():
    whole, begun, resumed = LeCamLogitEMA(), LeCamLogitEMA(), LeCamLogitEMA()
    steps = logits()
    follow(whole, steps)
    follow(begun, steps[:3])
    begun.gather(*steps[3], identity_reduce)
    resumed.load_state_dict(begun.state_dict())
    resumed.begin(16)
    resumed.gather(*steps[4], identity_reduce)
    resumed.begin(20)
    assert torch.equal(resumed.means, whole.means)


def test_the_penalty_is_that_of_the_paper_on_its_own_side():
    averages, steps = LeCamLogitEMA(), logits()
    follow(averages, steps)
    mean_real, mean_fake = averages.means.tolist()
    real, fake = 2 * noise(4, 1, 3), 2 * noise(4, 1, 3, seed=1)
    above = np.maximum(0, real.numpy() - mean_fake) ** 2
    below = np.maximum(0, mean_real - fake.numpy()) ** 2
    expected = above.mean() + below.mean()
    assert averages.penalty(real, fake).item() == pytest.approx(expected, rel=1e-5)


def test_the_penalty_has_the_gradient_of_finite_differences():
    averages = LeCamLogitEMA().double()
    follow(averages, logits())
    real, fake = (noise(2, 1, 3, seed=i).double().requires_grad_() for i in range(2))
    assert torch.autograd.gradcheck(averages.penalty, (real, fake))


def test_a_look_at_the_slope_represents_the_steps_between():
    assert Penalties(r1=10, r1_every=16, lecam=0.25).weights == {"r1": 80.0, "lecam": 0.25}


@pytest.mark.parametrize("numbers", [{"r1": -1}, {"lecam": -1}, {"r1_every": 0}])
def test_negative_costs_are_refused(numbers):
    with pytest.raises(ConfigError, match="at least 0"):
        Penalties(**numbers)
