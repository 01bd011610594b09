"""Several processes compute together what one computes alone."""

import pytest
import torch

from ct_vae.inference.streaming.ranks import Ranks
from tests._asserts import assert_close
from tests._forked import begin, finish
from tests.inference._exact import MODELS
from tests.inference.streaming._split import compute, result

CASES = [
    (name, decodes, cuts, slab_bytes)
    for number, name in enumerate(MODELS)
    for decodes in (False, True)
    for cuts, slab_bytes in [
        (((), 4_000), (tuple(range(3, 80, 7)), 1), (tuple(range(2, 90, 3)), 10**6))[number % 3]
    ]
]


# With two processes, one half of each model.
@pytest.mark.parametrize(("size", "cases"), [(2, CASES[::4] + CASES[3::4]), (3, CASES)])
def test_every_model_gives_the_same_on_several_processes(size, cases, tmp_path):
    processes = [begin(compute, rank, size, str(tmp_path), cases) for rank in range(size)]
    for process in processes:
        finish(process)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(size)]
    for number, case in enumerate(cases):
        alone = result(*case, Ranks())
        assert_close(torch.cat([part[number] for part in parts], dim=2), alone, 1e-10)
