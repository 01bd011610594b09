import time
from itertools import islice

import pytest
import torch

from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.losses.build import build_adversary
from ct_vae.training.reporting import trial as module
from ct_vae.training.reporting.trial import trial_positions, try_steps
from tests._small import SMALL_MODEL


def trial_of(pauses):
    taken = []

    def step():
        taken.append(pauses[len(taken)])
        time.sleep(taken[-1])

    return try_steps(step, torch.device("cpu")), taken


def test_all_steps_but_the_first_are_measured_and_their_spread_is_told(monkeypatch):
    monkeypatch.setattr(module, "_MOST", 4)
    pauses = [0.5, 0.02, 0.06, 0.04, 0.2]
    trial, taken = trial_of(pauses)
    assert taken == pauses
    assert trial.steps == 4
    assert 0.02 <= trial.fastest <= trial.seconds <= trial.slowest
    assert trial.seconds >= 0.05
    assert 0.2 <= trial.slowest < 0.5
    assert trial.peak_bytes is None


def test_slow_steps_are_few(monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_S", 0.01)
    trial, _ = trial_of([0.0] + [0.02] * 9)
    assert trial.steps == 3


@pytest.mark.parametrize(
    ("start", "samples", "every", "r1_steps"),
    [
        (0, 100, 5, [1]),
        (13, 100, 5, [1]),
        # As in the run, only the first step has a penalty.
        (0, 17, 50, [0]),
        # The discriminator begins with the second step of the trial.
        (40, 60, 50, [1]),
        (0, 100, 1, [0, 1, 2, 3]),
    ],
)
def test_the_second_step_has_an_r1_penalty_as_steps_of_the_run_have(
    start, samples, every, r1_steps
):
    """It needs the most memory, beside the moments of the optimizers that the first step makes."""
    settings = TrainingConfig(
        patch_size=(8, 8, 8),
        samples=samples,
        batch_size=4,
        adversarial_weight=0.1,
        adversarial_start_samples=start,
        discriminator_ch=4,
        discriminator_levels=1,
        r1_weight=1.0,
        r1_every=every,
    )
    adversary = build_adversary(
        RunConfig(model=SMALL_MODEL, training=settings), torch.device("cpu")
    )
    image = torch.zeros(1, 1, 8, 8, 8)
    found = [
        number
        for number, seen in enumerate(islice(trial_positions(settings), 4))
        if adversary.active(seen)
        and "r1" in adversary.discriminator_terms(image, image, seen).values
    ]
    assert found == r1_steps


def test_without_r1_a_trial_begins_with_the_last_step():
    settings = TrainingConfig(patch_size=(8, 8, 8), samples=100, batch_size=4)
    assert list(islice(trial_positions(settings), 2)) == [96, 100]
