from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.errors import ConfigError, InputError
from ct_vae.inference import execution_plan
from ct_vae.inference.tiling import Tiling
from ct_vae.latent import TilingRecord
from ct_vae.models import DiagonalGaussian
from ct_vae.volume import Volume
from tests._asserts import assert_close
from tests._small import ct_volume, small_codec
from tests._strategies import ALL_AXCODES, affines

CODEC = small_codec()


@settings(max_examples=25)
@given(st.tuples(*[st.integers(1, 14)] * 3), affines(shear=0.009))
def test_any_volume_comes_back_onto_its_own_grid(shape, affine):
    volume = ct_volume(shape, affine)
    latent = CODEC.encode(volume)
    decoded = CODEC.decode(latent)
    assert decoded.grid == volume.grid
    assert decoded.voxels.dtype == np.float32
    assert -1000 <= decoded.voxels.min() <= decoded.voxels.max() <= 1000


@settings(max_examples=25)
@given(st.tuples(*[st.integers(1, 14)] * 3), affines(), st.data())
def test_a_latent_voxel_is_at_the_center_of_its_block(shape, affine, data):
    volume = ct_volume(shape, affine)
    latent = CODEC.encode(volume)
    index = [data.draw(st.integers(0, n - 1)) for n in latent.grid.shape]
    oriented = volume.grid.reorient("RAS")
    corners = np.array([[4 * i, 4 * i + 3] for i in index])
    block = oriented.to_world(corners.T).mean(axis=0)
    np.testing.assert_allclose(latent.grid.to_world(index), block, atol=1e-6)


def test_a_sheared_source_has_an_orthonormal_latent():
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 0.015
    volume = ct_volume(affine=affine)
    assert volume.grid.shear > 5e-3
    latent = CODEC.encode(volume)
    assert latent.grid.shear < 1e-12
    assert CODEC.decode(latent).grid == volume.grid


@pytest.mark.parametrize("axcodes", ALL_AXCODES)
def test_orientation_does_not_change_the_latent(axcodes):
    volume = ct_volume()
    turned = Volume(
        volume.grid.reorient_array(volume.voxels, axcodes), volume.grid.reorient(axcodes)
    )
    expected, latent = CODEC.encode(volume), CODEC.encode(turned)
    np.testing.assert_array_equal(latent.array, expected.array)
    assert latent.grid.distance_mm(expected.grid) < 1e-9
    decoded = CODEC.decode(latent)
    assert decoded.grid == turned.grid
    back = decoded.grid.reorient_array(decoded.voxels, "RAS")
    np.testing.assert_array_equal(back, CODEC.decode(expected).voxels)


def test_the_latent_is_the_mean_of_the_posterior_unscaled():
    volume = ct_volume((12, 8, 8))
    latent = CODEC.encode(volume, tiling="whole")
    x = CODEC.preprocessor(volume, (4, 4, 4)).tensor
    with torch.inference_mode():
        expected = DiagonalGaussian(CODEC.network.model.moments(x)).mean[0]
    np.testing.assert_array_equal(latent.array, expected.numpy())
    assert latent.record.kind == "mean"
    assert latent.record.scaling_factor == CODEC.network.model.scaling_factor


def test_samples_follow_their_seed():
    volume = ct_volume()
    first, again, other = (CODEC.encode(volume, sample=True, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.array, again.array)
    assert (first.array != other.array).any()
    assert (first.record.kind, first.record.seed) == ("sample", 1)
    assert (CODEC.encode(volume).array != first.array).any()


@pytest.mark.parametrize("wishes", [{"sample": True}, {"seed": 3}])
def test_a_sample_needs_a_seed_and_a_mean_takes_none(wishes):
    with pytest.raises(ConfigError, match="seed"):
        CODEC.encode(ct_volume(), **wishes)


def test_blended_tiles_of_the_whole_are_the_whole():
    """One tile that covers everything has nothing to blend."""
    volume = ct_volume((16, 16, 16))
    whole = CODEC.encode(volume, tiling="whole")
    tiled = small_codec(Tiling("blend", tile=16)).encode(volume)
    assert tiled.record.tiling.tile == (16, 16, 16)
    assert_close(torch.tensor(tiled.array), torch.tensor(whole.array), 1e-6)


def test_tiles_are_recorded_and_stay_near_the_whole():
    """GroupNorm renormalizes every window, so blended tiles only come near."""
    volume = ct_volume((40, 24, 24))
    whole = CODEC.encode(volume, tiling="whole")
    tiled = small_codec(Tiling("blend", tile=16, overlap=0.5)).encode(volume)
    assert tiled.record.tiling == TilingRecord(method="blend", tile=(16, 16, 16), overlap=(8, 8, 8))
    assert tiled.array.shape == whole.array.shape
    assert np.corrcoef(tiled.array.ravel(), whole.array.ravel())[0, 1] > 0.5


def test_exact_is_the_default_and_gives_what_the_whole_gives():
    volume = ct_volume((21, 18, 14))
    exact, whole = CODEC.encode(volume), CODEC.encode(volume, tiling="whole")
    assert exact.record.tiling.method == "exact"
    assert whole.record.tiling.method == "whole"
    assert_close(torch.tensor(exact.array), torch.tensor(whole.array), 1e-5)
    decoded, expected = CODEC.decode(whole), CODEC.decode(whole, tiling="whole")
    assert_close(torch.tensor(decoded.voxels), torch.tensor(expected.voxels), 1e-5)


def test_the_plan_is_recorded_and_reported_before_any_work():
    lines = []
    codec = small_codec()
    codec.tell = lines.append
    latent = codec.encode(ct_volume((40, 24, 24)))
    told = latent.record.tiling
    assert told.spools == ("device",)
    assert 1 <= told.slab <= 24
    assert told.estimate_mb > 0
    codec.decode(latent, tiling="whole")
    assert lines[0].startswith(f"encode: exact, slabs of at least {told.slab} slices, buffers: ")
    assert lines[1] == "decode: whole"


def test_what_cannot_be_held_is_refused_before_any_work(monkeypatch):
    codec = small_codec(Tiling(max_memory_gb=1e-3))
    monkeypatch.setattr(execution_plan, "run_exact", None)
    with pytest.raises(ConfigError, match=r"thinnest slabs need about .*--max-memory-gb"):
        codec.encode(ct_volume())


def test_slabs_that_the_device_does_not_hold_are_halved_and_reported(monkeypatch):
    volume, failures = ct_volume((40, 24, 24)), [2]
    real = execution_plan.run_exact

    def run(steps, given, plan, device, sink):
        if failures[0]:
            failures[0] -= 1
            sink(0, torch.full((1, 8, 1, 6, 6), torch.nan))
            raise torch.OutOfMemoryError
        real(steps, given, plan, device, sink)

    monkeypatch.setattr(execution_plan, "run_exact", run)
    latent = small_codec().encode(volume)
    np.testing.assert_allclose(latent.array, CODEC.encode(volume).array, atol=1e-5)
    assert len(latent.record.warnings) == 2
    assert "halved" in latent.record.warnings[0]


@pytest.mark.parametrize("kind", ["device", "host", "disk"])
def test_autocast_around_a_codec_costs_precision_and_no_more_and_is_recorded(monkeypatch, kind):
    volume, real, told = ct_volume((40, 24, 24)), execution_plan.plan_streams, []

    def plan(steps, *budgets):
        files = sum(step.bytes for step in steps) if kind == "disk" else 0
        planned = real(steps, *budgets)
        return replace(planned, kinds=dict.fromkeys(planned.kinds, kind), disk_bytes=files)

    monkeypatch.setattr(execution_plan, "plan_streams", plan)
    codec = small_codec()
    codec.warn = told.append
    precise = codec.encode(volume)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = codec.encode(volume)
        decoded = codec.decode(precise)
    assert_close(torch.tensor(reduced.array), torch.tensor(precise.array), 0.03)
    expected = codec.decode(precise)
    assert_close(torch.tensor(decoded.voxels), torch.tensor(expected.voxels), 0.03)
    note = "computed under autocast in bfloat16; results differ from float32"
    assert reduced.record.warnings == (f"encode: {note}",)
    assert precise.record.warnings == ()
    assert told == [f"warning: {half}: {note}" for half in ("encode", "decode")]


def test_a_latent_is_not_done_anew_for_thinner_slabs():
    volume = ct_volume()
    record = CODEC.encode(volume).record
    assert small_codec(Tiling(max_memory_gb=1e3)).repeats(record, None)
    assert not small_codec(Tiling("blend", tile=8)).repeats(record, None)
    tiles = small_codec(Tiling("blend", tile=8)).encode(volume).record
    assert small_codec(Tiling("blend", tile=8)).repeats(tiles, None)
    assert not small_codec(Tiling("blend", tile=4)).repeats(tiles, None)
    assert not small_codec(Tiling("whole")).repeats(record, None)
    assert not CODEC.repeats(record, 3)


def test_another_models_latent_is_refused():
    latent = CODEC.encode(ct_volume())
    other = small_codec()
    other.identity = other.identity.model_copy(update={"sha256": "cd" * 32})
    with pytest.raises(InputError, match="was made by model 'small'"):
        other.decode(latent)


def test_reconstruct_is_encode_and_decode():
    volume = ct_volume()
    expected = CODEC.decode(CODEC.encode(volume)).voxels
    np.testing.assert_array_equal(CODEC.reconstruct(volume).voxels, expected)


def test_strides_of_their_own_place_the_latent_axis_by_axis():
    codec, volume = small_codec(strides=((2, 2, 1), (2, 1, 2))), ct_volume((13, 10, 11))
    latent = codec.encode(volume)
    assert latent.record.factor == (4, 2, 2)
    assert latent.array.shape == (4, 4, 5, 6)
    block = volume.grid.to_world([[0, 0, 0], [3, 1, 1]]).mean(axis=0)
    np.testing.assert_allclose(latent.grid.to_world([0, 0, 0]), block, atol=1e-6)
    assert codec.decode(latent).grid == volume.grid


def test_the_summary_tells_model_range_tiling_and_device():
    codec = small_codec(Tiling("blend"))
    assert repr(codec) == (
        f"Codec(small abababab, {codec.network.model}, -1000 to 1000 HU, tiling blend, on cpu)"
    )
