"""Execution of a plan, again on the CPU if the memory of a device is not sufficient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ct_vae.inference.device import HOST
from ct_vae.inference.execution_plan import ExecutionPlan
from ct_vae.inference.precision import Precision, computing_in
from ct_vae.inference.volume_adapter import VolumeAdapter

Result = TypeVar("Result")


def run_plan(
    network: VolumeAdapter,
    make: Callable[[], ExecutionPlan],
    run: Callable[[ExecutionPlan], Result],
    precision: Precision,
    fallback: bool,
    warn: Callable[[str], None],
) -> tuple[Result, ExecutionPlan]:
    """Make a plan and run it.

    Args:
        network: Network that runs.
        make: Makes a plan for the device on which the network is.
        run: Runs a plan.
        precision: Number format on the device of the network; the CPU computes in fp32.
        fallback: If true, what does not fit into the memory of the device runs on the CPU.
        warn: Receives one line for each deviation from the plan.

    Returns:
        The result, and the plan that gave it.

    Raises:
        torch.OutOfMemoryError: If the memory is not sufficient.
    """
    plan, failed = make(), False
    try:
        with computing_in(precision, network.device):
            result = run(plan)
    except torch.OutOfMemoryError:
        if not fallback:
            raise
        failed = True
    # Not inside the handler, which keeps references to the tensors of the failed attempt.
    if failed:
        with network.moved_to(HOST):
            plan = make()
            plan.precision = "fp32"
            plan.warnings.append(
                f"{plan.half}: the volume did not fit into the device's memory and ran on the CPU"
            )
            with computing_in(plan.precision, HOST):
                result = run(plan)
    for warning in plan.warnings:
        warn(f"warning: {warning}")
    return result, plan
