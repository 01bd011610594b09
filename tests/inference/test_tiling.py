import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import ConfigError
from ct_vae.inference.tiling import Tiling, plan_tiles
from tests._small import small_codec

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


def test_too_little_memory_for_one_tile_is_reported_before_any_work():
    with pytest.raises(ConfigError, match=r"needs about .* GiB"):
        Tiling("blend", 64).tiles((64, 64, 64), (4, 4, 4), 80.0, 1000)


@pytest.mark.parametrize(
    "numbers", [{"tile": 0}, {"overlap": 1.0}, {"overlap": -0.1}, {"batch": 0}]
)
def test_impossible_wishes_are_refused(numbers):
    with pytest.raises(ConfigError, match="must be positive"):
        Tiling(**numbers)


@pytest.mark.parametrize(
    ("kind", "budget", "expected"),
    [("cpu", 100 * GIB, 1), ("cuda", 100 * GIB, 64), ("cuda", GIB, 16), ("cuda", 2**26, 1)],
)
def test_gpus_compute_as_many_tiles_at_once_as_are_useful_and_fit(kind, budget, expected):
    assert Tiling("blend").batch_of((64, 64, 64), 256.0, budget, kind) == expected
    assert Tiling("blend", batch=3).batch_of((64, 64, 64), 256.0, budget, kind) == 3


def test_a_batch_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="a batch of 5 tiles of"):
        Tiling("blend", 64, batch=5).tiles((64, 64, 64), (4, 4, 4), 4000.0, 4 * GIB)
    Tiling("blend", 64, batch=4).tiles((64, 64, 64), (4, 4, 4), 4000.0, 4 * GIB)


@pytest.mark.parametrize("encodes", [False, True])
def test_tiles_are_added_on_the_host_if_the_device_is_full(encodes):
    """Sums of a row of tiles take memory besides the tiles."""
    network = small_codec().network
    network.model.to("meta")
    tile_bytes = 4 * 7 * network.model.full_resolution_width * 8**3
    row_bytes = 4 * 8 * 32 * 32 * (1 + 4 * 8 / 64 if encodes else 8 / 64 + 4)
    made = [
        plan_tiles(network, encodes, Tiling("blend", 8, 0.5), (64, 32, 32), budget)[1]
        for budget in (tile_bytes + int(row_bytes) - 1, tile_bytes + int(row_bytes))
    ]
    assert [plan.stitching.type for plan in made] == ["cpu", "meta"]
    assert [plan.device.type for plan in made] == ["meta", "meta"]


def test_a_2d_model_computes_one_tile_at_a_time():
    flat = small_codec(spatial_dims=2).network
    assert plan_tiles(flat, True, Tiling("blend", 8, batch=4), (16, 16, 16), GIB)[1].batch == 1
