import itertools

import numpy as np
import pytest
import torch

from ct_vae.blocks.downsample import BlurDownsampleND, BlurPoolND, DownsampleND
from ct_vae.errors import ConfigError, InputError
from tests._asserts import assert_close
from tests.blocks._correlate import NUMPY_MODES, correlated, noise

STEPS = [s for dims in (1, 2, 3) for s in itertools.product((1, 2), repeat=dims) if 2 in s]
PADDINGS = [
    (mode, causal)
    for mode in NUMPY_MODES
    for causal in (None, 0)
    if causal is None or mode in ("zeros", "replicate")
]
EVERY_STEP = pytest.mark.parametrize("steps", STEPS)
EVERY_PADDING = pytest.mark.parametrize(("mode", "causal"), PADDINGS)
EVERY_KIND = pytest.mark.parametrize("kind", [DownsampleND, BlurDownsampleND])


def sample(steps: tuple[int, ...]) -> torch.Tensor:
    return noise(2, 2, *(6, 5, 4)[: len(steps)])


def blurred(x: torch.Tensor, steps: tuple[int, ...], mode: str, causal: int | None) -> torch.Tensor:
    """One weighted sum after the other, in float64."""
    values = x.detach().double().numpy()
    for axis, step in enumerate(steps):
        if step == 1:
            continue
        first = -2 if axis == causal else -1
        around = np.pad(
            values, [(2, 2) if i == axis + 2 else (0, 0) for i in range(x.ndim)], NUMPY_MODES[mode]
        )
        rows = [
            sum(
                weight / 8 * around.take(2 + 2 * i + first + tap, axis + 2)
                for tap, weight in enumerate((1, 3, 3, 1))
            )
            for i in range(values.shape[axis + 2] // 2)
        ]
        values = np.stack(rows, axis + 2)
    return torch.from_numpy(values)


@EVERY_STEP
@EVERY_PADDING
def test_down_reads_three_voxels_from_every_even_one_on(steps, mode, causal):
    down = DownsampleND(len(steps), 2, steps, mode, causal)
    x = sample(steps)
    # The kernel is centered on odd voxels, on even ones of a causal axis.
    whole = correlated(down.conv, x, mode, causal if causal == 0 and steps[0] == 1 else None)
    middles = [
        slice(0 if axis == causal else step - 1, side // step * step, step)
        for axis, (step, side) in enumerate(zip(steps, x.shape[2:], strict=True))
    ]
    assert_close(down(x), whole[(..., *middles)], 1e-6)


@EVERY_STEP
@EVERY_PADDING
def test_blur_weighs_four_voxels_around_each_pair(steps, mode, causal):
    x = sample(steps)
    result = BlurPoolND(len(steps), steps, mode, causal)(x)
    assert_close(result, blurred(x, steps, mode, causal), 1e-6)


@EVERY_STEP
@EVERY_PADDING
def test_blurred_down_is_a_convolution_then_the_blur(steps, mode, causal):
    down = BlurDownsampleND(len(steps), 2, steps, mode, causal)
    x = sample(steps)
    inner = down.conv if causal is None else down.conv.conv
    expected = blurred(correlated(inner, x, mode, causal), steps, mode, causal)
    assert_close(down(x), expected, 1e-6)


@pytest.mark.parametrize("steps", [(2,), (2, 2), (2, 2, 2), (2, 1, 2)])
@pytest.mark.parametrize("causal", [None, 0])
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_blur_keeps_a_constant(steps, causal, mode):
    x = torch.full((1, 3, *[8] * len(steps)), 0.7)
    result = BlurPoolND(len(steps), steps, mode, causal)(x)
    inside = result if mode == "replicate" else result[(..., *[slice(1, -1)] * len(steps))]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.7))


def test_blur_passes_no_alternating_signal():
    x = torch.tensor([1.0, -1.0]).repeat(8).reshape(1, 1, 16)
    assert BlurPoolND(1)(x)[..., 1:-1].abs().max() < 1e-7


def test_blur_has_nothing_to_train_or_store():
    assert not BlurPoolND(3).state_dict()


def test_parameters_are_named_as_in_compvis():
    assert set(DownsampleND(3, 2).state_dict()) == {"conv.weight", "conv.bias"}
    assert set(BlurDownsampleND(3, 2).state_dict()) == {"conv.weight", "conv.bias"}


@EVERY_KIND
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("step", [1, 2])
def test_later_voxels_never_change_earlier_outputs_of_a_causal_axis(kind, axis, step):
    steps = [2, 2, 2]
    steps[axis] = step
    down = kind(3, 2, steps, causal_axis=axis)
    x = noise(1, 2, 8, 8, 8)
    for now in range(step, 8, step):
        changed = x.clone()
        changed.narrow(2 + axis, now, 8 - now).add_(1)
        before = [down(v).narrow(2 + axis, 0, now // step) for v in (x, changed)]
        torch.testing.assert_close(*before, rtol=0, atol=0)


@EVERY_KIND
@pytest.mark.parametrize("side", [2, 3, 7])
def test_an_odd_last_voxel_makes_no_output(kind, side):
    assert kind(2, 1, (2, 1))(torch.zeros(1, 1, side, side)).shape[2:] == (side // 2, side)


@EVERY_KIND
def test_it_compiles_in_one_graph(kind):
    down = kind(3, 2, (2, 2, 1), "replicate")
    x = noise(1, 2, 4, 6, 3)
    compiled = torch.compile(down, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), down(x))


@EVERY_KIND
def test_gradients_are_those_of_finite_differences(kind):
    down = kind(2, 2, (2, 1)).double()
    x = noise(1, 2, 4, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(down, (x,))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"strides": 1}, "strides .1, 1, 1. change no side"),
        ({"strides": (2, 2)}, "a stride of 1 or 2 for each of 3 axes"),
        ({"causal_axis": 3}, "causal_axis 3 is out of range for 3 axes"),
        ({"causal_axis": -1}, "causal_axis -1 is out of range for 3 axes"),
        ({"causal_axis": 0, "padding_mode": "reflect"}, "'reflect' puts later voxels"),
        ({"causal_axis": 0, "padding_mode": "circular"}, "'circular' puts later voxels"),
    ],
)
def test_invalid_shapes_are_refused(numbers, message):
    for kind, widths in ((DownsampleND, (4,)), (BlurDownsampleND, (4,)), (BlurPoolND, ())):
        with pytest.raises(ConfigError, match=message):
            kind(3, *widths, **numbers)


@pytest.mark.parametrize("layer", [DownsampleND(2, 1), BlurDownsampleND(2, 1), BlurPoolND(2)])
def test_a_side_that_cannot_be_halved_is_refused(layer):
    with pytest.raises(InputError, match=r"sides .1, 4. are too short for strides .2, 2."):
        layer(torch.zeros(1, 1, 1, 4))


@EVERY_KIND
def test_a_side_that_cannot_be_reflected_is_refused(kind):
    with pytest.raises(InputError, match="padding_mode 'reflect' needs at least 2 voxels"):
        kind(2, 1, (1, 2), "reflect")(torch.zeros(1, 1, 1, 4))
