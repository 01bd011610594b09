"""One of several processes that compute the same volumes together."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed

from ct_vae.inference.streaming.executor import run_exact
from ct_vae.inference.streaming.extents import Partition
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.ranks import Ranks
from ct_vae.inference.streaming.schedule import schedule
from ct_vae.inference.streaming.slab_plan import plan_streams
from tests.inference._exact import given, halves, tiny


def part_of(x, extent):
    """The slices of an extent, which may go on at the other end."""
    return x[:, :, [p % x.shape[2] for p in range(extent.start, extent.stop)]]


def result(name, decodes, cuts, slab_bytes, ranks):
    """The slices that this process computes of a volume, in float64."""
    model = tiny(name)
    module = halves(model)[decodes]
    x = given(model, [8 * f if a == 0 else 2 * f for a, f in enumerate(model.factor)], decodes)
    steps = trace_operators(module, tuple(x.shape[1:]), x.dtype)
    cuts = frozenset(i for i in cuts if 0 < i < len(steps) - 1)
    order = schedule(steps, cuts)
    plan = replace(
        plan_streams(steps, 2**40, slab_bytes=slab_bytes),
        cuts=cuts,
        kinds=dict.fromkeys(order.buffered[:-1], "device"),
    )
    stored = Partition(steps, order, ranks.size).stored(ranks.rank)
    slabs = []
    with torch.inference_mode():
        run_exact(
            steps,
            part_of(x, stored[0]),
            plan,
            x.device,
            lambda _, s: slabs.append(s.clone()),
            ranks,
        )
    return torch.cat(slabs, dim=2)


def compute(rank, size, folder, cases):
    """Join the others and write this process's part of every case."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size
    )
    parts = [result(*case, Ranks(rank, size)) for case in cases]
    torch.save(parts, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()
