import pytest
import torch

from ct_vae.errors import ConfigError
from ct_vae.inference.streaming.extents import Partition
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.schedule import schedule
from tests.inference._exact import MODELS, halves, tiny


@pytest.mark.parametrize("name", MODELS)
def test_parts_are_disjoint_and_complete(name):
    model = tiny(name, torch.float32)
    steps = trace_operators(halves(model)[1], (model.latent_channels, 7, 4, 4), torch.float32)
    order = schedule(steps)
    parts = Partition(steps, order, 3)
    for i, step in enumerate(steps):
        owned = [p for rank in range(3) for p in range(*parts.own(i, rank))]
        assert owned == list(range(step.shape[1]))
    for rank in range(3):
        stored = parts.stored(rank)
        for i in (0, *order.buffered):
            run = [p for r in parts.missing(i, stored, rank) for p in range(r.length)]
            assert len(run) == stored[i].length - parts.own(i, rank).length


def test_more_processes_than_slices_are_refused():
    model = tiny("kl group alone", torch.float32)
    steps = trace_operators(halves(model)[0], (1, 8, 16, 16), torch.float32)
    with pytest.raises(ConfigError, match=r"divided into 2 parts .* not among 3 processes"):
        Partition(steps, schedule(steps), 3)
