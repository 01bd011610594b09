import itertools
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import MaisiUpsample
from monai.networks.blocks import UpSample
from torch.nn import functional

from ct_vae.blocks.downsample import DownsampleND
from ct_vae.blocks.upsample import (
    SubvoxelUpsampleND,
    UpsampleND,
    depth_to_space,
    fused_kernel,
)
from ct_vae.errors import ConfigError, InputError
from tests._asserts import assert_close
from tests.blocks._correlate import correlated, noise

STEPS = [s for dims in (1, 2, 3) for s in itertools.product((1, 2), repeat=dims) if 2 in s]
EVERY_STEP = pytest.mark.parametrize("steps", STEPS)
MODES = ("zeros", "replicate", "circular", "reflect")
FUSIBLE = MODES[:3]
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
LAYOUTS = pytest.mark.parametrize("layout", [None, *CHANNELS_LAST.values()])
STEPS_IN_LAYOUTS = [
    (s, layout) for s in STEPS for layout in dict.fromkeys((None, CHANNELS_LAST.get(len(s))))
]


def repeated(x: torch.Tensor, steps: tuple[int, ...]) -> torch.Tensor:
    for axis, step in enumerate(steps, start=2):
        x = x.repeat_interleave(step, axis)
    return x


@contextmanager
def repeating_forbidden(monkeypatch):
    """Whoever makes the fine map before convolving fails."""

    def refuse(*args, **options):
        raise AssertionError("voxels were repeated")

    with monkeypatch.context() as patch:
        patch.setattr(functional, "interpolate", refuse)
        yield


@st.composite
def upsamplings(draw):
    """A layer in float64 with its input: any dimension, strides, border, sides and layout."""
    steps = draw(st.sampled_from(STEPS))
    sides = draw(st.tuples(*[st.integers(1, 5)] * len(steps)))
    batch, channels = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    with torch.random.fork_rng():
        torch.manual_seed(draw(st.integers(0, 2**16)))
        up = UpsampleND(len(steps), channels, steps, draw(st.sampled_from(FUSIBLE))).double()
        x = torch.randn(batch, channels, *sides, dtype=torch.float64)
    if draw(st.booleans()) and len(steps) in CHANNELS_LAST:
        x = x.contiguous(memory_format=CHANNELS_LAST[len(steps)])
    return up, x


@given(upsamplings())
def test_one_operation_equals_repeating_and_convolving(case):
    up, x = case
    with torch.inference_mode():
        fused = up(x)
    assert_close(fused, up(x), 1e-12)


@pytest.mark.parametrize(("steps", "layout"), STEPS_IN_LAYOUTS)
@pytest.mark.parametrize("mode", FUSIBLE)
def test_every_combination_agrees_with_the_book(steps, layout, mode, monkeypatch):
    up, x = UpsampleND(len(steps), 2, steps, mode), noise(2, 2, *(3, 1, 4)[: len(steps)])
    expected = correlated(up.conv, repeated(x, steps), mode)
    assert_close(up(x), expected, 1e-6)
    if layout is not None:
        x = x.contiguous(memory_format=layout)
    with torch.no_grad(), repeating_forbidden(monkeypatch):
        fused = up.eval()(x)
    assert_close(fused, expected, 1e-6)
    if mode == "zeros":
        assert fused.is_contiguous(memory_format=layout or torch.contiguous_format)


@EVERY_STEP
def test_reflection_is_of_the_fine_map(steps):
    up, x = UpsampleND(len(steps), 2, steps, "reflect"), noise(1, 2, *(3, 2, 4)[: len(steps)])
    expected = correlated(up.conv, repeated(x, steps), "reflect")
    assert_close(up(x), expected, 1e-6)
    with torch.no_grad():
        assert_close(up(x), expected, 1e-6)


@EVERY_STEP
def test_the_fused_kernel_adds_taps_that_meet_the_same_voxel(steps):
    weight = noise(2, 3, *[3] * len(steps)).double()
    kernel = torch.zeros(2, 3, *[2 * step if step == 2 else 3 for step in steps]).double()
    for tap in itertools.product(range(3), repeat=len(steps)):
        for place in itertools.product(*map(range, steps)):
            # A fine voxel of the block that starts at 0 meets this one, of this coarse voxel.
            coarse = [(p + t - 1) // s for p, t, s in zip(place, tap, steps, strict=True)]
            # Two places take turns on an axis of stride 2, each with a tap for either of two.
            slot = [
                2 * (c + 1) - p if s == 2 else c + 1
                for c, p, s in zip(coarse, place, steps, strict=True)
            ]
            kernel[(..., *slot)] += weight[(..., *tap)]
    torch.testing.assert_close(fused_kernel(weight, steps), kernel)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_taps_of_half_precision_are_rounded_once(dtype):
    weight = noise(2, 2, 3, 3, 3).to(dtype)
    expected = fused_kernel(weight.double(), (2, 2, 2)).to(dtype)
    assert fused_kernel(weight, (2, 2, 2)).dtype == dtype
    different = fused_kernel(weight, (2, 2, 2)) != expected
    # Sums in float32 may fall on the other side of a tie.
    assert different.double().mean() < 0.01


@LAYOUTS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_close_as_it_is_without_fusing(layout, dtype):
    dims = 2 if layout == torch.channels_last else 3
    up, x = UpsampleND(dims, 8), noise(1, 8, *[6] * dims)
    expected = up(x)
    up, x = up.to(dtype), x.to(dtype)
    if layout is not None:
        x = x.contiguous(memory_format=layout)
    with torch.no_grad():
        assert_close(up(x), expected, 1e-2 if dtype == torch.bfloat16 else 1e-3)


@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
def test_autocast_rounds_and_nothing_else(quiet, monkeypatch):
    up, x = UpsampleND(3, 8), noise(1, 8, 4, 5, 6)
    with quiet(), torch.autocast("cpu", torch.bfloat16), repeating_forbidden(monkeypatch):
        result = up(x)
    assert result.dtype == torch.bfloat16
    assert_close(result, up(x), 1e-2)


@pytest.mark.parametrize("mode", FUSIBLE)
@LAYOUTS
def test_it_compiles_in_one_graph_with_and_without_gradients(mode, layout):
    dims = 2 if layout == torch.channels_last else 3
    up, x = UpsampleND(dims, 2, (2, 1, 2)[:dims], mode), noise(1, 2, *(3, 4, 2)[:dims])
    if layout is not None:
        x = x.contiguous(memory_format=layout)
    torch.compiler.reset()
    compiled = torch.compile(up, backend="eager", fullgraph=True)
    expected = up(x)
    assert_close(compiled(x), expected, 1e-6)
    with torch.no_grad():
        assert_close(compiled(x), expected, 1e-6)


def test_gradients_reach_weights_and_input():
    up = UpsampleND(2, 2, (2, 1)).double()
    x = noise(1, 2, 3, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(up, (x,))
    up(x).sum().backward()
    assert up.conv.weight.grad.abs().min() > 0


def test_a_change_of_weights_is_seen_at_once():
    up, x = UpsampleND(3, 2), noise(1, 2, 3, 3, 3)
    with torch.no_grad():
        first = up(x)
        up.conv.weight.mul_(2)
        up.conv.bias.mul_(2)
        assert_close(up(x), 2 * first, 1e-6)


def test_linear_is_what_maisi_does():
    up, x = UpsampleND(3, 8, mode="linear"), noise(1, 8, 4, 3, 5)
    theirs = MaisiUpsample(3, 8, False, num_splits=1, dim_split=0, print_info=False, save_mem=False)
    theirs.conv.conv.load_state_dict({f"conv.{k}": v for k, v in up.conv.state_dict().items()})
    assert_close(up(x), theirs(x), 1e-6)
    with torch.no_grad():
        assert_close(up(x), theirs(x), 1e-6)


@pytest.mark.parametrize(("dims", "name"), [(1, "linear"), (2, "bilinear"), (3, "trilinear")])
def test_linear_places_centers_as_monai_does_without_aligned_corners(dims, name):
    steps = (2, 1, 2)[:dims]
    up, x = UpsampleND(dims, 4, steps, mode="linear"), noise(1, 4, *(4, 3, 5)[:dims])
    theirs = UpSample(
        dims,
        4,
        4,
        scale_factor=steps,
        mode="nontrainable",
        interp_mode=name,
        align_corners=False,
        post_conv=up.conv,
    )
    assert_close(up(x), theirs(x), 1e-6)


def test_nearest_is_what_monai_does():
    up, x = UpsampleND(3, 4), noise(1, 4, 4, 3, 5)
    theirs = UpSample(
        3, 4, 4, mode="nontrainable", interp_mode="nearest", align_corners=None, post_conv=up.conv
    )
    with torch.no_grad():
        assert_close(up(x), theirs(x), 1e-6)


@EVERY_STEP
def test_sub_voxels_are_counted_along_the_last_axis_first(steps):
    count, sides = torch.tensor(steps).prod().item(), (2, 3, 2)[: len(steps)]
    x = noise(2, 3 * count, *sides)
    finer = [step * side for step, side in zip(steps, sides, strict=True)]
    expected = torch.full((2, 3, *finer), torch.nan)
    for channel in range(3):
        for sub, part in enumerate(itertools.product(*map(range, steps))):
            for voxel in itertools.product(*map(range, sides)):
                place = [v * s + p for v, s, p in zip(voxel, steps, part, strict=True)]
                expected[(slice(None), channel, *place)] = x[
                    (slice(None), channel * count + sub, *voxel)
                ]
    torch.testing.assert_close(depth_to_space(x, steps), expected, rtol=0, atol=0)


def test_depth_to_space_is_pixel_shuffle():
    x = noise(2, 12, 3, 5)
    torch.testing.assert_close(depth_to_space(x, (2, 2)), functional.pixel_shuffle(x, 2))


@EVERY_STEP
@pytest.mark.parametrize("causal", [None, 0])
def test_sub_voxels_start_out_alike(steps, causal):
    up = SubvoxelUpsampleND(len(steps), 3, steps, causal_axis=causal)
    x = noise(1, 3, *(3, 2, 4)[: len(steps)])
    result = up(x)
    first = result[(..., *[slice(None, None, step) for step in steps])]
    torch.testing.assert_close(result, repeated(first, steps))
    assert first.std() > 0.1
    # Copies of one sub-voxel, not of one channel.
    assert not torch.allclose(first[:, 0], first[:, 1])


@pytest.mark.parametrize("mode", MODES)
def test_sub_voxels_are_channels_of_a_convolution(mode):
    up, x = SubvoxelUpsampleND(3, 2, (2, 1, 2), mode), noise(1, 2, 3, 4, 2)
    torch.nn.init.normal_(up.conv.weight)
    assert_close(up(x), depth_to_space(correlated(up.conv, x, mode), (2, 1, 2)), 1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("step", [1, 2])
def test_later_voxels_never_change_earlier_sub_voxels_of_a_causal_axis(axis, step):
    steps = [2, 2, 2]
    steps[axis] = step
    up, x = SubvoxelUpsampleND(3, 2, steps, causal_axis=axis), noise(1, 2, 4, 4, 4)
    for now in range(1, 4):
        changed = x.clone()
        changed.narrow(2 + axis, now, 4 - now).add_(1)
        before = [up(v).narrow(2 + axis, 0, now * step) for v in (x, changed)]
        torch.testing.assert_close(*before, rtol=0, atol=0)


def test_sub_voxels_compile_in_one_graph():
    up, x = SubvoxelUpsampleND(3, 2, (2, 2, 1), "replicate", causal_axis=2), noise(1, 2, 3, 4, 5)
    compiled = torch.compile(up, backend="eager", fullgraph=True)
    assert_close(compiled(x), up(x), 1e-6)


@EVERY_STEP
@pytest.mark.parametrize("kind", [UpsampleND, SubvoxelUpsampleND])
def test_up_undoes_the_sides_of_down(kind, steps):
    x = torch.zeros(1, 2, *(6, 4, 8)[: len(steps)])
    down = DownsampleND(len(steps), 2, steps)
    assert kind(len(steps), 2, steps)(down(x)).shape == x.shape


def test_parameters_are_named_as_in_compvis():
    assert set(UpsampleND(3, 2).state_dict()) == {"conv.weight", "conv.bias"}
    assert set(SubvoxelUpsampleND(3, 2).state_dict()) == {"conv.weight", "conv.bias"}


@pytest.mark.parametrize("kind", [UpsampleND, SubvoxelUpsampleND])
def test_strides_that_change_nothing_are_refused(kind):
    with pytest.raises(ConfigError, match="change no side"):
        kind(3, 2, 1)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="nearest or linear, got 'cubic'"):
        UpsampleND(3, 2, mode="cubic")


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_a_causal_axis_is_not_padded_with_what_comes_later(mode):
    with pytest.raises(ConfigError, match="puts later voxels before the first"):
        SubvoxelUpsampleND(3, 2, padding_mode=mode, causal_axis=0)


@pytest.mark.parametrize("kind", [UpsampleND, SubvoxelUpsampleND])
def test_a_side_that_cannot_be_reflected_is_refused(kind):
    with pytest.raises(InputError, match="padding_mode 'reflect' needs at least 2 voxels"):
        kind(2, 2, (1, 2), "reflect")(torch.zeros(1, 2, 1, 4))
