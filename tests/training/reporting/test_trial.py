import time

import torch

from ct_vae.training.reporting import trial as module
from ct_vae.training.reporting.trial import try_steps


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
