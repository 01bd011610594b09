"""Blended tiles beside a plain loop over all tiles and beside MONAI's sliding window."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer

from ct_vae.inference.blending import Blending, importance_weights, tile_starts
from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.tiling import Tiling
from ct_vae.progress import reporting_to
from tests._asserts import assert_close
from tests._progress import Recorder
from tests._small import small_codec

CPU = torch.device("cpu")
factors = st.sampled_from([(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 1), (4, 2, 8)])
networks = ("pooling", "repetition", "smoothing")


def stands_in(name, factor):
    """Networks with a result of fewer, more or as many elements, which depends on the tile."""

    def pool(tile):
        return torch.nn.functional.avg_pool3d(tile, factor)

    def repeat(tile):
        for axis, f in enumerate(factor):
            tile = tile.repeat_interleave(f, axis + 2)
        return tile

    def with_mean(tile, network):
        return torch.cat([network(tile), network(tile - tile.mean((2, 3, 4), keepdim=True))], 1)

    network = {"pooling": pool, "repetition": repeat, "smoothing": torch.sin}[name]
    return lambda tile: with_mean(tile, network)


@st.composite
def cases(draw):
    """A volume and its tiles, whose positions are multiples of the factor of a pooling."""
    factor, name = draw(factors), draw(st.sampled_from(networks))
    step = factor if name == "pooling" else (1, 1, 1)
    sides = tuple(f * draw(st.integers(1, 7)) for f in step)
    tile = tuple(f * draw(st.integers(1, n // f)) for f, n in zip(step, sides, strict=True))
    overlap = tuple(f * draw(st.integers(0, t // f - 1)) for f, t in zip(step, tile, strict=True))
    x = torch.randn(1, 2, *sides, generator=torch.Generator().manual_seed(0))
    blending = Blending(tile, overlap, draw(st.integers(1, 5)), CPU, CPU)
    return x, blending, stands_in(name, factor)


def blended(network, x, blending):
    slabs = []
    blending.run(network, x, lambda start, slab: slabs.append((start, slab)))
    lengths = [slab.shape[2] for _, slab in slabs]
    assert [start for start, _ in slabs] == [sum(lengths[:i]) for i in range(len(slabs))]
    return torch.cat([slab for _, slab in slabs], 2)


def slices_of(sides, blending):
    steps = [t - v for t, v in zip(blending.tile, blending.overlap, strict=True)]
    return dense_patch_slices(sides, blending.tile, steps)


@given(cases())
def test_tiles_are_averaged_with_the_weights_of_their_centers(case):
    """The reference adds every tile to the whole volume, in float64."""
    x, blending, network = case
    sides = tuple(x.shape[2:])
    weights = compute_importance_map(blending.tile, "gaussian").double()[None, None]
    total = norm = None
    for at in slices_of(sides, blending):
        result = network(x[(..., *at)]).double()
        ratio = [m / n for m, n in zip(result.shape[2:], blending.tile, strict=True)]
        nearest = torch.nn.functional.interpolate(weights, result.shape[2:], mode="nearest-exact")
        if total is None:
            whole = [round(n * r) for n, r in zip(sides, ratio, strict=True)]
            total, norm = torch.zeros(1, 4, *whole).double(), torch.zeros(whole).double()
        here = tuple(
            slice(round(s.start * r), round(s.stop * r)) for s, r in zip(at, ratio, strict=True)
        )
        total[(..., *here)] += nearest * result
        norm[here] += nearest[0, 0]
    assert_close(blended(network, x, blending).double(), total / norm, 1e-6)


@given(cases())
def test_results_are_those_of_the_sliding_window_of_monai(case):
    x, blending, network = case
    # MONAI truncates tile * (1 - overlap) to integers; half an element avoids rounding errors.
    share = [max(0.0, v - 0.5) / t for t, v in zip(blending.tile, blending.overlap, strict=True)]
    inferer = SlidingWindowInferer(blending.tile, overlap=share, mode="gaussian")
    assert_close(blended(network, x, blending), inferer(x, network), 1e-6)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 59))
def test_tiles_begin_where_monai_puts_them(side, tile, overlap):
    tile = min(tile, side)
    overlap = min(overlap, tile - 1)
    slices = dense_patch_slices((side,), (tile,), (tile - overlap,))
    assert tile_starts(side, tile, overlap) == [at.start for (at,) in slices]


@given(cases())
@settings(max_examples=20)
def test_batches_hold_as_many_tiles_as_asked_for_and_progress_counts_them(case):
    x, blending, network = case
    sizes, recorder = [], Recorder()

    def counted(tiles):
        sizes.append(len(tiles))
        return network(tiles)

    with reporting_to(recorder):
        blended(counted, x, blending)
    tiles = len(slices_of(tuple(x.shape[2:]), blending))
    assert sum(sizes) == tiles
    rows = len(tile_starts(x.shape[2], blending.tile[0], blending.overlap[0]))
    assert max(sizes) == min(blending.batch, tiles // rows)
    assert recorder.reports[-1] == 1.0
    assert recorder.reports == sorted(set(recorder.reports))


def test_weights_are_computed_once_for_each_shape_of_tiles():
    importance_weights.cache_clear()
    x = torch.randn(1, 1, 12, 8, 8)
    for tile in ((4, 4, 4), (4, 4, 4), (6, 4, 4)):
        blended(torch.sin, x, Blending(tile, (2, 2, 2), 1, CPU, CPU))
    found = importance_weights.cache_info()
    assert (found.misses, found.hits) == (2, 1)


def test_results_in_half_precision_are_added_in_that_of_the_input():
    x, blending = torch.rand(1, 1, 12, 8, 8), Blending((4, 4, 4), (2, 2, 2), 2, CPU, CPU)
    result = blended(lambda tile: tile.bfloat16(), x, blending)
    assert result.dtype == torch.float32
    assert_close(result, x.bfloat16().float(), 1e-6)


@pytest.mark.parametrize("half", ["encode", "decode"])
def test_a_network_gives_the_same_in_batches(half):
    network, sides = small_codec().network, (20, 16, 12)
    x = torch.randn(1, 1, *sides) if half == "encode" else torch.randn(1, 4, 5, 4, 3)
    one, many = (
        plan_execution(network, half, Tiling("blend", 8, 0.5, batch=n), sides) for n in (1, 5)
    )
    assert many.describe() == f"{half}: blend, tiles of 8 x 8 x 8 voxels, 5 at once"
    with torch.inference_mode():
        assert_close(many(x), one(x), 1e-5)


@pytest.mark.parametrize("half", ["encode", "decode"])
def test_tiles_that_are_streamed_give_what_the_network_gives(half):
    """On a CPU; the progress is still that of the tiles."""
    network, sides = small_codec().network, (20, 16, 12)
    x = torch.randn(1, 1, *sides) if half == "encode" else torch.randn(1, 4, 5, 4, 3)
    plan = plan_execution(network, half, Tiling("blend", 8, 0.5), sides)
    recorder = Recorder()
    with torch.inference_mode(), reporting_to(recorder):
        streamed = plan(x)
    assert len(recorder.reports) == len(tile_starts(20, 8, 4)) * 3 * 2
    assert plan.of_tile.stream_plan is not None
    plan.of_tile = None
    with torch.inference_mode():
        assert_close(streamed, plan(x), 1e-5)


class FullDevice:
    """A network for which at most some tiles fit into memory."""

    def __init__(self, most):
        self.most, self.tried = most, []

    def __call__(self, tiles):
        self.tried.append(len(tiles))
        if len(tiles) > self.most:
            raise torch.OutOfMemoryError
        return 2 * tiles


def test_fewer_tiles_are_computed_at_once_if_memory_is_exceeded():
    plan = plan_execution(
        small_codec().network, "encode", Tiling("blend", 8, 0.5, batch=9), (16,) * 3
    )
    network = FullDevice(2)
    plan.network.features, plan.of_tile = network, None
    x = torch.randn(1, 1, 16, 16, 16)
    result = torch.empty_like(x)

    def sink(start, slab):
        result[:, :, start : start + slab.shape[2]] = slab

    plan.run(x, sink)
    assert_close(result, 2 * x, 1e-6)
    assert network.tried[:3] == [9, 4, 2]
    assert set(network.tried[3:]) == {1, 2}
    warning = (
        "encode: the planned tiles did not fit into the device's memory; fewer were computed at "
        "once"
    )
    assert plan.warnings == [warning, warning]


def test_tiles_are_added_on_the_host_before_an_attempt_is_given_up():
    blending = Blending((4, 4, 4), (2, 2, 2), 4, torch.device("meta"), torch.device("meta"))
    tried = []
    while blending is not None:
        tried.append((blending.batch, blending.stitching.type))
        blending = blending.smaller()
    assert tried == [(4, "meta"), (2, "meta"), (1, "meta"), (1, "cpu")]
    assert replace(Blending((4, 4, 4), (2, 2, 2), 1, CPU, CPU)).smaller() is None
