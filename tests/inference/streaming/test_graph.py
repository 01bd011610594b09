import pytest
import torch

from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.schedule import schedule
from tests.inference._exact import MODELS, halves, tiny

NAME = pytest.mark.parametrize("name", MODELS)


@NAME
@pytest.mark.parametrize("decodes", [False, True])
def test_no_more_than_three_maps_are_alive(name, decodes):
    """Of the largest size, by the schedule."""
    model = tiny(name, torch.float32)
    shape = (model.latent_channels, 8, 8, 8) if decodes else (1, 32, 32, 32)
    steps = trace_operators(halves(model)[decodes], shape, torch.float32)
    order = schedule(steps)
    if "circular" in name:
        # Every convolution waits for the far end; its input and a block's lie beside its result.
        return
    buffered = order.buffered[:-1]
    for i in buffered:
        alive = [j for j in buffered if j <= i <= order.last_use[j]]
        assert sum(steps[j].bytes for j in alive) <= 3 * max(step.bytes for step in steps)
