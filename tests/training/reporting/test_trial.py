import time

import torch

from ct_vae.training.reporting.trial import try_step


def test_the_second_of_two_steps_is_measured():
    pauses = [0.2, 0.05]
    taken = []

    def step():
        taken.append(pauses[len(taken)])
        time.sleep(taken[-1])

    started = time.perf_counter()
    trial = try_step(step, torch.device("cpu"))
    both = time.perf_counter() - started
    assert taken == pauses
    assert 0.05 <= trial.seconds <= both - 0.2
    assert trial.peak_bytes is None
