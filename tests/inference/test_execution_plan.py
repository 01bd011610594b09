"""What a passage may take of the memory, and what becomes of one that the device does not hold."""

import numpy as np
import pytest
import torch

from ct_vae.errors import ConfigError, InputError
from ct_vae.inference import execution_plan
from ct_vae.inference.codec import Codec
from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.streaming.window_stream import WindowStream
from ct_vae.inference.tiling import Tiling
from tests._asserts import assert_close
from tests._small import ct_volume, small_codec

NETWORK = small_codec().network


@pytest.mark.parametrize(("half", "results"), [("encode", 8 * 4 * 4 * 4), ("decode", 16**3)])
@pytest.mark.parametrize("beside", [0, 12345])
def test_results_and_what_others_take_are_left_room(monkeypatch, half, results, beside):
    """The moments of a latent, or the image of a decoder, in float32."""
    asked, real = [], execution_plan.plan_streams

    def plan(steps, budget, host_budget, slab_bytes, fixed):
        asked.append((budget, host_budget))
        return real(steps, 2**40, host_budget)

    monkeypatch.setattr(execution_plan, "memory_budget", lambda *_: 10**9)
    monkeypatch.setattr(execution_plan, "plan_streams", plan)
    plan_execution(NETWORK, half, Tiling(), (16, 16, 16), beside)
    plan_execution(NETWORK, half, Tiling(), (16, 16, 16), beside, result_bytes=777)
    assert asked == [(10**9 - 4 * results - beside, 0), (10**9 - 777 - beside, 0)]


@pytest.mark.parametrize("half", ["encode", "decode"])
def test_spools_on_a_disk_give_what_the_whole_gives(half):
    """The least budget that is accepted leaves no buffer in memory."""
    codec = small_codec()
    sides = (24, 16, 12)
    way = plan_execution(codec.network, half, Tiling(), sides)
    least = execution_plan.plan_streams(way.steps, 2**40)
    budget = least.bytes - 1
    while True:
        try:
            way.stream_plan = execution_plan.plan_streams(way.steps, budget)
        except ConfigError:
            break
        budget = way.stream_plan.bytes - 1
    assert "disk" in way.stream_plan.kinds.values()
    generator = torch.Generator().manual_seed(0)
    shape = (1, 1, *sides) if half == "encode" else (1, 4, 6, 4, 3)
    x = torch.randn(shape, generator=generator)
    with torch.inference_mode():
        whole = plan_execution(codec.network, half, Tiling("whole"), sides)(x)
        assert_close(way(x), whole, 1e-5)


@pytest.fixture
def full_device(monkeypatch):
    """A device whose memory holds no operator, while the switch is on."""
    real, switch = WindowStream.read, {"on": True, "calls": 0}

    def read(self, count):
        switch["calls"] += 1
        if switch["on"]:
            raise torch.OutOfMemoryError
        return real(self, count)

    monkeypatch.setattr(WindowStream, "read", read)
    return switch


def test_what_the_thinnest_slabs_do_not_bring_through_fails_alone(full_device):
    with pytest.raises(InputError, match="volume does not fit into memory"):
        small_codec().encode(ct_volume())
    # Once with the slabs that were planned and once with each half of them.
    assert 3 < full_device["calls"] < 40


def test_the_cpu_takes_what_the_device_does_not_hold_where_that_is_allowed(
    full_device, monkeypatch
):
    codec, told = small_codec(), []
    codec.fallback, codec.warn = "cpu", told.append
    real = Codec._plan
    plans = []

    def plan(self, *args):
        plans.append(args)
        full_device["on"] = len(plans) == 1
        return real(self, *args)

    monkeypatch.setattr(Codec, "_plan", plan)
    latent = codec.encode(ct_volume())
    expected = small_codec().encode(ct_volume())
    np.testing.assert_array_equal(latent.array, expected.array)
    assert latent.record.warnings == (
        "encode: the volume did not fit into the device's memory and ran on the CPU",
    )
    assert told == [f"warning: {latent.record.warnings[0]}"]


def test_halved_slabs_are_reported_when_decoding_as_well(monkeypatch):
    codec, told, failures = small_codec(), [], [1]
    codec.warn = told.append
    real = execution_plan.run_exact

    def run(*args):
        if failures:
            failures.clear()
            raise torch.OutOfMemoryError
        real(*args)

    latent = codec.encode(ct_volume())
    monkeypatch.setattr(execution_plan, "run_exact", run)
    codec.decode(latent)
    assert len(told) == 1
    assert "halved" in told[0]
