"""A traced encoder and its plan with more memory than it needs."""

import torch

from ct_vae.errors import ConfigError
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.slab_plan import plan_streams
from tests.inference._exact import halves, tiny

STEPS = trace_operators(
    halves(tiny("kl group attention", torch.float32))[0], (1, 64, 64, 64), torch.float32
)


AMPLE = plan_streams(STEPS, 2**40)


def least(steps):
    """Return the least budget in bytes, a multiple of 1 MiB, that a plan fits into."""
    low, high = 0, 2**14
    while high - low > 1:
        middle = (low + high) // 2
        try:
            plan_streams(steps, middle * 2**20)
            high = middle
        except ConfigError:
            low = middle
    return high * 2**20
