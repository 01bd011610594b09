import pytest
import torch

from ct_vae.inference.execution_plan import plan_execution
from ct_vae.inference.plan_fallback import run_plan
from ct_vae.inference.tiling import Tiling
from tests._small import small_codec

NETWORK = small_codec().network


def _make():
    return plan_execution(NETWORK, "encode", Tiling(), (8, 8, 8))


def _failing_once(calls):
    def run(plan):
        calls.append(plan)
        if len(calls) == 1:
            raise torch.OutOfMemoryError

    return run


def test_a_plan_that_does_not_fit_runs_once_more_on_the_cpu_in_fp32():
    calls, told = [], []
    result, plan = run_plan(NETWORK, _make, _failing_once(calls), "fp32", True, told.append)
    assert result is None
    assert len(calls) == 2
    assert plan is calls[1] is not calls[0]
    assert plan.precision == "fp32"
    assert told == [
        "warning: encode: the volume did not fit into the device's memory and ran on the CPU"
    ]


def test_without_fallback_the_error_remains():
    calls, told = [], []
    with pytest.raises(torch.OutOfMemoryError):
        run_plan(NETWORK, _make, _failing_once(calls), "fp32", False, told.append)
    assert (len(calls), told) == (1, [])


def test_warnings_of_a_plan_are_told():
    told = []

    def run(plan):
        plan.warnings.append("slabs were halved")
        return 7

    result, _ = run_plan(NETWORK, _make, run, "fp32", True, told.append)
    assert (result, told) == (7, ["warning: slabs were halved"])
