import pytest
import torch

from ct_vae.training.build import build_step
from ct_vae.training.distributed import DistributedContext
from tests.datasets._files import run_config

IMAGES = 1000 * torch.rand(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) - 500


def built(**training):
    return build_step(run_config(training=training), DistributedContext())


def test_a_step_trains_with_the_numbers_of_the_configuration():
    step = built(lr=1e-3, batch_size=6, micro_batch_size=3)
    assert step.micro_batch == 3
    assert step.discriminator is None
    before = [p.detach().clone() for p in step.generator.module.parameters()]
    metrics = step(IMAGES, 2, 1e-3)
    assert metrics.loss > 0
    assert any(
        not a.equal(b) for a, b in zip(before, step.generator.module.parameters(), strict=True)
    )
    assert built(batch_size=6).micro_batch == 6


def test_the_seed_determines_the_initial_weights():
    first, again, other = (built(seed=seed).generator.module for seed in (1, 1, 2))
    assert all(a.equal(b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(a.equal(b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_a_discriminator_has_its_own_rate():
    game = {"adversarial_weight": 0.1, "adversarial_start_samples": 0, "discriminator_levels": 1}
    step = built(lr=1e-3, discriminator_lr=4e-3, **game)
    step.discriminator.begin(1e-3)
    rates = [group["lr"] for group in step.discriminator.optimizer.param_groups]
    assert rates == [pytest.approx(4e-3)]
