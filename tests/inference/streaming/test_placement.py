from hypothesis import given
from hypothesis import strategies as st

from ct_vae.inference.streaming.feature_buffer import KINDS
from ct_vae.inference.streaming.placement import place_buffers
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import plan_streams
from tests.inference.streaming._plans import AMPLE, STEPS, least


def test_all_spools_lie_on_the_device_while_it_has_room():
    assert set(AMPLE.kinds.values()) == {"device"}
    assert AMPLE.disk_bytes == 0


def test_host_memory_is_taken_before_files_where_the_device_is_another():
    plan = plan_streams(STEPS, least(STEPS), host_budget=2**40)
    assert set(plan.kinds.values()) == {"device", "host"}
    assert plan.disk_bytes == 0


def test_room_of_what_is_done_is_planned_for_once():
    plan = plan_streams(STEPS, least(STEPS))
    everything = sum(STEPS[i].bytes for i, kind in plan.kinds.items() if kind == "disk")
    assert 0 < plan.disk_bytes <= 0.8 * everything


@given(device=st.floats(0.3, 1.0), host=st.floats(0.0, 1.0))
def test_limits_are_kept_and_every_buffer_has_one_place(device, host):
    order = schedule(STEPS)
    streams = dict.fromkeys(order.buffered, 0)
    everything = place_buffers(STEPS, order, streams, {"device": 2**60, "host": 0})
    peak = everything.device_bytes
    limits = {"device": int(device * peak), "host": int(host * peak)}
    placed = place_buffers(STEPS, order, streams, limits)
    assert placed.kinds.keys() == everything.kinds.keys() == set(order.buffered[:-1])
    assert placed.device_bytes <= limits["device"]
    assert placed.host_bytes <= limits["host"]
    stored = dict.fromkeys(KINDS, 0)
    for i, kind in placed.kinds.items():
        stored[kind] += STEPS[i].bytes
    assert (placed.disk_bytes > 0) == (stored["disk"] > 0)
    assert placed.disk_bytes <= 2 * stored["disk"]


def test_streams_that_exceed_the_device_alone_are_not_hidden():
    order = schedule(STEPS)
    streams = dict.fromkeys(order.buffered, 100)
    placed = place_buffers(STEPS, order, streams, {"device": 10, "host": 0})
    assert placed.device_bytes == 100
    assert set(placed.kinds.values()) == {"disk"}
