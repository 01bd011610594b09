import pytest
import torch

from ct_vae.errors import CtVaeError
from ct_vae.losses.objective import Objective
from ct_vae.training.step import TrainStep, _generator
from tests._small import small_model


def batch(count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, 8, generator=generator) * 2 - 1


def make_step(model, seed=0, grad_clip=1.0, kl_weight=1e-3, lr=1e-3):
    optimiser = torch.optim.SGD(model.parameters(), lr=lr)
    return TrainStep(model, optimiser, Objective("l1", {"kl": kl_weight}), grad_clip, seed)


def weights(model):
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_a_step_is_the_gradient_of_the_objective():
    model, twin = small_model(), small_model()
    values = make_step(model, grad_clip=None)(batch(), 0, 0.1)
    posterior = twin.encode(batch())
    noise = torch.stack([torch.randn(4, 2, 2, 2, generator=_generator(0, i)) for i in range(2)])
    reconstruction = twin.decode(posterior.mean + posterior.std * noise)
    loss = (reconstruction - batch()).abs().mean() + 1e-3 * posterior.kl().mean()
    loss.backward()
    assert values.loss == pytest.approx(loss.item())
    for name, parameter in twin.named_parameters():
        stepped = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(dict(model.named_parameters())[name].detach(), stepped)


def test_the_same_place_and_seed_give_the_same_step_and_others_do_not():
    results = {}
    for name, seed, seen in [("a", 0, 4), ("same", 0, 4), ("seed", 1, 4), ("place", 0, 6)]:
        model = small_model()
        make_step(model, seed)(batch(), seen, 1e-3)
        results[name] = weights(model)
    assert same(results["a"], results["same"])
    assert not same(results["a"], results["seed"])
    assert not same(results["a"], results["place"])


def test_noise_belongs_to_the_sample_and_not_to_the_batch():
    step = make_step(small_model())
    mean = small_model().posterior(batch(4)).mean
    together = step._noise(mean, 10)
    apart = [step._noise(small_model().posterior(batch(1)).mean, 10 + i) for i in range(4)]
    assert torch.equal(together, torch.cat(apart))


def test_clipping_bounds_the_gradient_and_reports_its_norm():
    model, free = small_model(), small_model()
    before = weights(model)
    clipped = make_step(model, grad_clip=1e-3)(batch(), 0, 1.0)
    unclipped = make_step(free, grad_clip=None)(batch(), 0, 1.0)
    assert clipped.grad_norm == pytest.approx(unclipped.grad_norm)
    moved = sum((before[k] - v).square().sum() for k, v in weights(model).items()) ** 0.5
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted():
    model = small_model()
    step = make_step(model)
    before = weights(model)
    assert step(batch() * float("nan"), 0, 1e-3) is None
    assert step.skipped == 1
    assert same(before, weights(model))
    assert step(batch(), 2, 1e-3) is not None


def test_ten_in_a_row_stop_the_run():
    step = make_step(small_model())
    bad = batch() * float("inf")
    for _ in range(9):
        assert step(bad, 0, 1e-3) is None
    with pytest.raises(CtVaeError, match="10 steps in a row were not finite") as caught:
        step(bad, 18, 1e-3)
    assert "lower training.lr" in caught.value.hint


def test_generators_of_neighbouring_places_are_unrelated():
    draws = torch.stack([torch.randn(1000, generator=_generator(0, i)) for i in range(50)])
    correlation = torch.corrcoef(draws) - torch.eye(50)
    assert correlation.abs().max() < 0.2
    assert abs(draws.mean().item()) < 0.02
