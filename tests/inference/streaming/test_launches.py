"""Operations per slab, counted on PyTorch's device without data: copying from it is an error."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ct_vae.inference.streaming.executor import run_exact
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.slab_plan import plan_streams
from tests.inference._exact import MODELS, halves, tiny

META = torch.device("meta")
# What a slab may allocate: results of operators, whose memory PyTorch's caching allocator reuses.
BUFFERS = ("empty", "zeros", "ones", "full", "clone", "cat", "_to_copy", "repeat", "stack")
SYNCS = ("_local_scalar_dense", "item", "nonzero", "equal", "is_nonzero")


class Operations(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def counts_per_slab(name, decodes, slices):
    """The operations between each two slabs that reach the end of the network."""
    model = tiny(name, torch.float32).to(META)
    module, f = halves(model)[decodes], model.factor[0]
    shape = (model.latent_channels, slices // f, 4, 4) if decodes else (1, slices, 16, 16)
    steps = trace_operators(module, shape, torch.float32)
    plan = plan_streams(steps, 2**40, slab_bytes=1)
    x = torch.empty(1, *shape, device=META)
    found = []
    with torch.inference_mode(), Operations() as operations:

        def sink(start, slab):
            found.append(operations.counts)
            operations.counts = Counter()

        run_exact(steps, x, plan, META, sink)
    return found


def of(counts, names):
    return {name: n for name, n in counts.items() if name.startswith(names)}


@pytest.mark.parametrize("name", ["kl group alone", "kl linear strides", "kl layer, no middle"])
@pytest.mark.parametrize("decodes", [False, True])
def test_the_slab_loop_neither_waits_nor_allocates_buffers(name, decodes):
    slabs = counts_per_slab(name, decodes, slices=48 if decodes else 12 * tiny(name).factor[0])
    assert len(slabs) >= 12
    # The last ones run out of slices of one operator after the other.
    steady = sum(slabs[2:-4], Counter())
    assert sum(of(steady, ("conv",)).values()) >= len(slabs) - 6
    assert not of(steady, SYNCS)
    assert not of(steady, BUFFERS)


@pytest.mark.parametrize("name", [n for n in MODELS if "circular" not in n])
@pytest.mark.parametrize("decodes", [False, True])
def test_no_model_waits_for_the_device(name, decodes):
    """Reading a number of this device would raise an error."""
    slabs = counts_per_slab(name, decodes, slices=16)
    assert not of(sum(slabs, Counter()), SYNCS)


def test_moments_of_a_slab_are_one_reduction():
    model = tiny("kl group alone", torch.float32).to(META)
    steps = trace_operators(halves(model)[0], (1, 32, 16, 16), torch.float32)
    plan = plan_streams(steps, 2**40, slab_bytes=1)
    with torch.inference_mode(), Operations() as operations:
        run_exact(steps, torch.empty(1, 1, 32, 16, 16, device=META), plan, META, lambda *_: None)
    assert operations.counts["var_mean"] == sum(
        -(-steps[i].shape[1] // plan.slabs[i]) for i in plan.kinds
    )
