"""What modules say about their reach is what they do."""

import pytest
import torch

from ct_vae.blocks.conv import ConvND, PaddedConv, pad
from ct_vae.blocks.downsample import BlurPoolND, DownsampleND
from ct_vae.blocks.norm import LayerNormND, RMSNormND
from ct_vae.blocks.receptive_field import ReceptiveField
from ct_vae.blocks.upsample import UpsampleND
from tests._asserts import assert_close

MODES = ("zeros", "replicate", "reflect", "circular")
MODULES = {
    "causal": lambda: PaddedConv(torch.nn.Conv3d(3, 4, 3), (2, 1, 1), (0, 1, 1), "replicate"),
    "rms": lambda: RMSNormND(3),
    "layer": lambda: LayerNormND(3),
    "causal blur": lambda: BlurPoolND(3, 2, "replicate", causal_axis=0),
    "flat blur": lambda: BlurPoolND(3, (1, 2, 2)),
    "flat step": lambda: DownsampleND(3, 3, (1, 2, 2)),
    "flat linear": lambda: UpsampleND(3, 3, (1, 2, 2), mode="linear"),
    "linear": lambda: UpsampleND(3, 3, 2, mode="linear"),
    "repeated": lambda: UpsampleND(3, 3, 2, "reflect"),
    **{f"fused {m}": lambda m=m: UpsampleND(3, 3, 2, m) for m in MODES if m != "reflect"},
    **{f"flat fused {m}": lambda m=m: UpsampleND(3, 3, (1, 2, 2), m) for m in MODES[:2]},
    **{f"step {m}": lambda m=m: DownsampleND(3, 3, 2, m) for m in MODES},
    **{f"blur {m}": lambda m=m: BlurPoolND(3, 2, m) for m in MODES},
}


def local_parts(module):
    """The parts of a module that say how far they reach, in turn."""
    parts = module.parts() if hasattr(module, "parts") else [module]
    return [part for part in parts if hasattr(part, "reach")]


@pytest.mark.parametrize("name", MODULES)
def test_on_an_extended_map_the_result_is_that_of_the_map(name):
    for part in local_parts(MODULES[name]().double().eval()):
        reach = part.receptive_field()
        x = torch.randn(1, 3, 8, 6, 4, dtype=torch.float64)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        with torch.inference_mode():
            whole = part(x)
            extended = pad(x, (reach.low, 0, 0), (reach.high, 0, 0), reach.mode)
            assert_close(part.unpadded_operator()(extended), whole, 1e-12)
            assert whole.shape[2] == reach.steps(8) * reach.repeats


@pytest.mark.parametrize("name", MODULES)
def test_slices_out_of_reach_change_nothing(name):
    for part in local_parts(MODULES[name]().double().eval()):
        reach = part.receptive_field()
        x = torch.randn(1, 3, 16, 6, 4, dtype=torch.float64)
        step = 2
        first = step * reach.stride - reach.low
        y = torch.randn_like(x)
        y[:, :, first : first + reach.kernel] = x[:, :, first : first + reach.kernel]
        given = slice(step * reach.repeats, (step + 1) * reach.repeats)
        with torch.inference_mode():
            assert_close(part(y)[:, :, given], part(x)[:, :, given], 1e-12)


def test_steps_are_those_of_a_convolution():
    assert ReceptiveField().steps(7) == 7
    assert ReceptiveField(3, 1, 1, 1).steps(7) == 7
    assert ReceptiveField(3, 2, 0, 1).steps(8) == 4
    assert ConvND(3, 1, 1, causal_axis=0).receptive_field() == ReceptiveField(3, 1, 2, 0)
