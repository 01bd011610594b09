import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.errors import ConfigError
from ct_vae.inference.tiling import Tiling, run_tiled
from ct_vae.latent import TilingRecord
from ct_vae.progress import reporting_to
from tests._progress import Recorder

factors = st.sampled_from([(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 1), (4, 2, 8)])
GIB = 2**30


@given(
    factors,
    st.tuples(*[st.integers(1, 12)] * 3),
    st.integers(1, 100),
    st.floats(0, 0.95),
)
def test_tiles_and_steps_are_multiples_of_the_factor(factor, blocks, tile, overlap):
    sides = tuple(b * f for b, f in zip(blocks, factor, strict=True))
    plan = Tiling("blend", tile, overlap).tiles(sides, factor, 1.0, GIB)
    for side, voxels, shared, f in zip(sides, plan.tile, plan.overlap, factor, strict=True):
        assert voxels % f == shared % f == 0
        assert f <= voxels <= side
        assert 0 <= shared < voxels


@given(factors, st.tuples(*[st.integers(1, 6)] * 3), st.integers(1, 30), st.floats(0, 0.9))
def test_monai_starts_windows_on_latent_voxels(factor, blocks, tile, overlap):
    """The network stands in for a pooling, which any misplaced window would blur."""
    sides = tuple(b * f for b, f in zip(blocks, factor, strict=True))
    plan = Tiling("blend", tile, overlap).tiles(sides, factor, 1.0, GIB)
    x = torch.rand(1, 1, *sides, dtype=torch.float64)
    starts = []

    def pool(window):
        starts.append(tuple(window.shape[2:]))
        return torch.nn.functional.avg_pool3d(window, factor)

    torch.testing.assert_close(run_tiled(pool, x, plan, (1, 1, 1)), pool(x))
    assert set(starts[:-1]) == {plan.tile}

    def repeat(window):
        for axis, f in enumerate(factor):
            window = window.repeat_interleave(f, axis + 2)
        return window

    latent = pool(x)
    torch.testing.assert_close(run_tiled(repeat, latent, plan, factor), repeat(latent))


def test_too_little_memory_for_one_tile_is_reported_before_any_work():
    with pytest.raises(ConfigError, match=r"needs about .* GiB"):
        Tiling("blend", 64).tiles((64, 64, 64), (4, 4, 4), 80.0, 1000)


@pytest.mark.parametrize("numbers", [{"tile": 0}, {"overlap": 1.0}, {"overlap": -0.1}])
def test_impossible_wishes_are_refused(numbers):
    with pytest.raises(ConfigError, match="must be positive"):
        Tiling(**numbers)


def test_a_whole_volume_goes_through_once():
    calls = []
    x = torch.zeros(1, 1, 8, 8, 8)
    run_tiled(lambda v: calls.append(v) or v, x, TilingRecord(method="whole"), (1, 1, 1))
    assert len(calls) == 1
    assert calls[0] is x


@given(
    st.lists(st.integers(4, 40), min_size=3, max_size=3),
    st.integers(4, 12),
    st.sampled_from([0.0, 0.25, 0.6]),
)
@settings(max_examples=20)
def test_the_number_of_tiles_is_that_of_the_sliding_window(sides, tile, overlap):
    volume = torch.zeros(1, 1, *sides)
    roi = tuple(min(tile, side) for side in sides)
    record = TilingRecord(method="blend", tile=roi, overlap=tuple(int(r * overlap) for r in roi))
    recorder = Recorder()
    with reporting_to(recorder):
        run_tiled(lambda x: x, volume, record, (1, 1, 1))
    fractions = recorder.reports
    assert fractions[-1] == 1.0
    assert fractions == sorted(set(fractions))
