import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.config.training import TrainingConfig
from ct_vae.training.optim import build_optimizer, learning_rate


def config(**changes):
    return TrainingConfig(
        **{"samples": 1000, "warmup_samples": 100, "lr": 1.0, "batch_size": 10, **changes}
    )


@given(st.integers(0, 1200), st.sampled_from(["constant", "cosine"]), st.integers(0, 500))
def test_the_rate_is_positive_and_never_above_lr(seen, schedule, warmup):
    rate = learning_rate(config(schedule=schedule, warmup_samples=warmup), seen)
    assert 0 < rate <= 1


def test_warm_up_rises_in_a_line_from_the_first_step():
    rates = [learning_rate(config(), seen) for seen in range(0, 100, 10)]
    steps = {round(b - a, 12) for a, b in pairwise(rates)}
    assert len(steps) == 1
    assert rates[0] == pytest.approx(10 / 110)


def test_cosine_ends_at_a_hundredth_and_is_halfway_in_the_middle():
    assert learning_rate(config(), 100) == 1
    assert learning_rate(config(), 550) == pytest.approx(0.505)
    assert learning_rate(config(), 1000) == pytest.approx(0.01)
    assert learning_rate(config(), 325) == pytest.approx(
        0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2
    )


def test_wsd_stays_and_falls_at_the_end_whatever_the_length():
    settings = {"schedule": "wsd", "lr_decay_samples": 200}
    short, long = (config(samples=n, **settings) for n in (600, 1000))
    assert {learning_rate(short, seen) for seen in range(100, 401, 50)} == {1.0}
    assert learning_rate(short, 500) == pytest.approx(0.505)
    assert learning_rate(short, 600) == pytest.approx(0.01)
    for seen in range(0, 400, 20):
        assert learning_rate(short, seen) == learning_rate(long, seen)


def test_constant_stays():
    rates = {learning_rate(config(schedule="constant"), seen) for seen in (100, 500, 1000)}
    assert rates == {1.0}


def test_a_run_without_warm_up_begins_at_lr():
    assert learning_rate(config(warmup_samples=0), 0) == 1


def test_step_falls_at_once_and_exponential_little_by_little():
    settings = {"warmup_samples": 0, "lr_decay": 0.5, "lr_decay_samples": 100}
    step, little = (config(schedule=s, **settings) for s in ("step", "exponential"))
    assert [learning_rate(step, n) for n in (0, 99, 100, 199, 200)] == [1, 1, 0.5, 0.5, 0.25]
    for seen in (0, 50, 100, 250):
        assert learning_rate(little, seen) == pytest.approx(0.5 ** (seen / 100))


@given(st.integers(0, 2000), st.sampled_from(["step", "exponential", "cosine", "constant", "wsd"]))
def test_after_warm_up_the_rate_never_rises(seen, schedule):
    settings = config(schedule=schedule, lr_decay_samples=70)
    assert learning_rate(settings, seen + 101) <= learning_rate(settings, seen + 100)


def test_the_optimiser_is_the_one_that_is_configured():
    settings = config(betas=(0.5, 0.9), weight_decay=0.25)
    optimizer = build_optimizer([torch.nn.Parameter(torch.ones(1))], settings)
    (group,) = optimizer.param_groups
    assert (group["betas"], group["weight_decay"], group["lr"]) == ((0.5, 0.9), 0.25, 1.0)


@pytest.mark.parametrize("fused", [False, True])
def test_the_fused_optimiser_makes_the_same_steps(fused):
    parameters = [torch.nn.Parameter(torch.linspace(-1, 1, 7)), torch.nn.Parameter(torch.ones(3))]
    expected = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    optimizers = [
        build_optimizer(parameters, config(weight_decay=0.1), fused),
        torch.optim.AdamW(expected, lr=1.0, betas=(0.9, 0.99), weight_decay=0.1),
    ]
    assert bool(optimizers[0].param_groups[0]["fused"]) == fused
    for optimizer, tensors in zip(optimizers, (parameters, expected), strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            sum(p.square().sum() for p in tensors).backward()
            optimizer.step()
    torch.testing.assert_close(parameters, expected)
