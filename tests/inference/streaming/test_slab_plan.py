import warnings
from contextlib import closing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.errors import ConfigError
from ct_vae.inference.streaming import slab_plan
from ct_vae.inference.streaming.feature_buffer import FeatureBufferPool, StoreSizes
from ct_vae.inference.streaming.footprint import Footprints
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import plan_streams
from ct_vae.models import AutoencoderKL
from tests.inference._exact import halves, tiny

STEPS = trace_operators(
    halves(tiny("kl group attention", torch.float32))[0], (1, 64, 64, 64), torch.float32
)
AMPLE = plan_streams(STEPS, 2**40)


def test_all_spools_lie_on_the_device_while_it_has_room():
    assert set(AMPLE.kinds.values()) == {"device"}
    assert AMPLE.disk_bytes == 0


@settings(max_examples=30)
@given(st.floats(0.0, 1.2))
def test_no_plan_is_above_the_budget(share):
    budget = int(share * AMPLE.bytes)
    try:
        plan = plan_streams(STEPS, budget)
    except ConfigError:
        assert budget < AMPLE.bytes
        return
    assert plan.bytes <= budget
    assert ("disk" in plan.kinds.values()) == (plan.disk_bytes > 0)


def test_less_memory_never_costs_less():
    """Each plan is the cheapest that fits, so a smaller budget cannot allow a cheaper one."""
    costs, on_disk = [], []
    for part in range(20):
        try:
            plan = plan_streams(STEPS, AMPLE.bytes - part * 2**20)
        except ConfigError:
            break
        order = schedule(STEPS, plan.cuts)
        footprints = Footprints(STEPS, order.users, plan.slab_bytes)
        costs.append(slab_plan._cost(STEPS, order, footprints, plan))
        on_disk.append(plan.disk_bytes)
    assert len(costs) > 3
    assert costs == sorted(costs)
    assert on_disk[0] == 0 < on_disk[-1]


def test_host_memory_is_taken_before_files_where_the_device_is_another():
    plan = plan_streams(STEPS, _least(STEPS), host_budget=2**40)
    assert set(plan.kinds.values()) == {"device", "host"}
    assert plan.disk_bytes == 0


def test_room_of_what_is_done_is_planned_for_once():
    plan = plan_streams(STEPS, _least(STEPS))
    everything = sum(STEPS[i].bytes for i, kind in plan.kinds.items() if kind == "disk")
    assert 0 < plan.disk_bytes <= 0.8 * everything


def test_keys_and_values_of_a_whole_level_are_planned_for():
    module = halves(tiny("kl group attention", torch.float32))[0]
    steps = trace_operators(module, (1, 256, 256, 256), torch.float32)
    attends = max(s.bytes for s in steps if isinstance(s.module, SpatialSelfAttention))
    assert _least(steps) >= 2 * attends + slab_plan._UNSEEN


def _least(steps):
    """The least budget in MiB that a plan fits into, by bisection; in bytes."""
    low, high = 0, 2**14
    while high - low > 1:
        middle = (low + high) // 2
        try:
            plan_streams(steps, middle * 2**20)
            high = middle
        except ConfigError:
            low = middle
    return high * 2**20


def test_too_little_is_told_with_what_would_do():
    with pytest.raises(
        ConfigError, match=r"about 0\.\d+ GiB .*, more than the 0 GiB that are available"
    ):
        plan_streams(STEPS, -5)


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


@given(st.data())
def test_a_pool_holds_what_its_sizes_tell(data):
    """Whatever is taken and given back, the plan and the pool agree on what is held."""
    with closing(FeatureBufferPool(torch.device("cpu"))) as pool:
        sizes, used = StoreSizes(), []
        for _ in range(data.draw(st.integers(1, 12))):
            if used and data.draw(st.booleans()):
                size, store = used.pop(data.draw(st.integers(0, len(used) - 1)))
                sizes.give_back(size)
                pool.give_back("device", store)
                continue
            size = data.draw(st.integers(1, 9)) * 64
            used.append((sizes.take(size), pool.take("device", size)))
            assert used[-1][0] == used[-1][1].numel()
            free = sum(store.numel() for store in pool._free["device"])
            assert sizes.total == free + sum(size for size, _ in used)


def test_a_plan_that_was_not_held_becomes_thinner_and_leaves_the_device():
    from ct_vae.inference.streaming.slab_plan import thinner

    once = thinner(AMPLE, STEPS, host_budget=2**40)
    assert once.slab_bytes == AMPLE.slab_bytes // 2
    assert set(once.kinds.values()) == {"host"}
    assert once.disk_bytes == 0
    assert once.bytes < AMPLE.bytes
    without = thinner(AMPLE, STEPS, host_budget=0)
    assert set(without.kinds.values()) == {"disk"}
    assert without.disk_bytes > 0
