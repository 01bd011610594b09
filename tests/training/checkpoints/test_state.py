from unittest.mock import Mock

import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.training.build import build_step
from ct_vae.training.checkpoints.checkpoint import Checkpoint
from ct_vae.training.checkpoints.state import gather_state, restore_state, shared_checkpoint
from ct_vae.training.distributed import DistributedContext
from ct_vae.training.ema import AveragedWeights
from tests.datasets._files import run_config

ALONE = DistributedContext()
BATCH = 1000 * torch.rand(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) - 500


def trained(steps):
    """A step and its averaged weights after some steps of training."""
    game = {"adversarial_weight": 0.1, "adversarial_start_samples": 0, "discriminator_levels": 1}
    config = run_config(training=game)
    step = build_step(config, ALONE)
    ema = AveragedWeights(step.generator.module, 100)
    for number in range(steps):
        step(BATCH, 2 * number, 1e-3)
        ema.follow(step.generator.module, 2 * number + 2, 2)
    return step, ema


def test_a_restored_state_is_the_same_in_all_tensors_and_goes_on_alike():
    step, ema = trained(2)
    state = {name: tensor.clone() for name, tensor in gather_state(step, ema).items()}
    assert {name.split(".")[0] for name in state} == {"ema", "generator", "discriminator"}
    other = trained(1)
    restore_state(*other, state)
    found = gather_state(*other)
    assert found.keys() == state.keys()
    assert all(found[name].equal(tensor) for name, tensor in state.items())
    first, second = (each(BATCH, 4, 1e-3) for each in (step, other[0]))
    assert first.loss == second.loss
    state = gather_state(step, ema)
    assert all(tensor.equal(state[name]) for name, tensor in gather_state(*other).items())


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert shared_checkpoint(tmp_path, ALONE, print) is None


def test_a_model_without_a_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("ct_vae.training.checkpoints.state.saved_at", lambda _: 8)
    with pytest.raises(ConfigError, match="contains a model but no checkpoint"):
        shared_checkpoint(tmp_path, ALONE, print)


def test_ranks_must_see_the_same_checkpoint(tmp_path, monkeypatch):
    found = Checkpoint(8, {}, {})
    monkeypatch.setattr("ct_vae.training.checkpoints.state.newest_checkpoint", lambda *_: found)
    world = Mock(gather=lambda values: [*values, 4])
    with pytest.raises(InputError, match=r"ranks see checkpoints of \[8, 4\] samples"):
        shared_checkpoint(tmp_path, world, print)
    world = Mock(gather=lambda values: values * 2)
    assert shared_checkpoint(tmp_path, world, print) is found
