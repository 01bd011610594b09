import warnings

import pytest
import torch

from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.slab_plan import plan_streams
from ct_vae.models import AutoencoderKL
from tests.inference._exact import halves, tiny


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("decodes", [False, True])
def test_chains_without_barriers_are_cut_to_fit(norm, decodes):
    """The size of MAISI's autoencoder at 512^3, whose line buffers alone would need 9 to 14 GiB."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoencoderKL(down_channels=(64, 128, 256), mid_attn=False, norm=norm).to("meta")
    shape = (4, 128, 128, 128) if decodes else (1, 512, 512, 512)
    steps = trace_operators(halves(model)[decodes], shape, torch.float32)
    free = plan_streams(steps, 2**45)
    assert not free.cuts
    result = 2 * 512**3 if decodes else 4 * 8 * 128**3
    plan = plan_streams(steps, 4 * 2**30 - 4 * 512**3 // shape[0] - result)
    assert plan.cuts
    assert plan.bytes < free.bytes


def test_cuts_divide_the_chain_where_it_is_cheap():
    """Of results of different sizes, the small ones are stored."""
    steps = trace_operators(
        halves(tiny("vq fsq", torch.float32))[0], (1, 64, 64, 64), torch.float32
    )
    ample = plan_streams(steps, 2**40)
    plan = plan_streams(steps, ample.bytes - 2**20, slab_bytes=ample.slab_bytes)
    stored = sum(steps[i].bytes for i in plan.cuts)
    assert stored <= 2 * min(step.bytes for step in steps) + max(step.bytes for step in steps) / 4
