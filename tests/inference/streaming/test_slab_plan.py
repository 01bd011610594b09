from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ct_vae.blocks.attention import SpatialSelfAttention
from ct_vae.errors import ConfigError
from ct_vae.inference.streaming import slab_plan
from ct_vae.inference.streaming.file_transfer import STAGED_BYTES
from ct_vae.inference.streaming.footprint import Footprints
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import plan_streams, smaller
from tests.inference._exact import halves, tiny
from tests.inference.streaming._plans import AMPLE, STEPS, least


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


def test_keys_and_values_of_a_whole_level_are_planned_for():
    module = halves(tiny("kl group attention", torch.float32))[0]
    steps = trace_operators(module, (1, 256, 256, 256), torch.float32)
    attends = max(s.bytes for s in steps if isinstance(s.module, SpatialSelfAttention))
    assert least(steps) >= 2 * attends + slab_plan._UNSEEN


@pytest.mark.parametrize("more", [0, 1, 2**22, 2**40])
def test_memory_of_transfers_to_files_is_part_of_the_hosts(more):
    budget = STAGED_BYTES + more
    plan = plan_streams(STEPS, least(STEPS), host_budget=budget)
    assert plan.host_bytes <= budget
    assert plan.disk_bytes == 0 or plan.host_bytes >= STAGED_BYTES
    assert (plan.disk_bytes == 0) == (more == 2**40)


def test_too_little_is_told_with_what_would_do():
    with pytest.raises(
        ConfigError, match=r"about 0\.\d+ GiB .*, more than the 0 GiB that are available"
    ):
        plan_streams(STEPS, -5)


@pytest.mark.parametrize(("host_budget", "kind"), [(2**40, "host"), (0, "disk")])
def test_after_a_failure_slabs_become_thinner_and_only_then_buffers_leave(host_budget, kind):
    plans = [AMPLE]
    while (plan := smaller(plans[-1], STEPS, host_budget)) is not None:
        plans.append(plan)
    *thinner, last = plans
    assert len(thinner) > 3
    for before, plan in pairwise(thinner):
        assert plan.slabs != before.slabs
        assert all(a <= b for a, b in zip(plan.slabs, before.slabs, strict=True))
        assert plan.kinds == before.kinds
        assert plan.bytes <= before.bytes
    assert set(thinner[-1].slabs) == {1}
    assert last.slabs == thinner[-1].slabs
    assert set(last.kinds.values()) == {kind}
    assert (last.disk_bytes > 0) == (kind == "disk")
    assert last.bytes < thinner[-1].bytes
