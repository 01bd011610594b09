import pytest
import torch

from ct_vae.training.distributed import DistributedContext
from ct_vae.training.optimized_network import OptimizedNetwork
from ct_vae.training.precision import Precision

CPU = torch.device("cpu")
ALONE = DistributedContext()


def optimized_network(precision="fp32", world=ALONE, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Conv3d(2, 3, 2).to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1.0)
    return OptimizedNetwork(module, optimizer, None, Precision(precision, CPU), world, **settings)


def loss(side):
    image = torch.linspace(-1, 1, 2 * 27).view(1, 2, 3, 3, 3)
    return side.module(image).square().mean()


def weights(side):
    return [p.detach().clone() for p in side.module.parameters()]


def test_the_rate_is_a_share_of_the_autoencoders():
    side = optimized_network(lr_share=0.25)
    side.begin(0.2)
    assert [group["lr"] for group in side.optimizer.param_groups] == [pytest.approx(0.05)]


def test_old_gradients_are_forgotten():
    side = optimized_network()
    for _ in range(2):
        side.begin(0.1)
        side.add(loss(side))
    norm = side.norm()
    side.begin(0.1)
    side.add(loss(side))
    assert torch.equal(norm, side.norm())


def test_gradients_are_means_over_ranks(monkeypatch):
    """The other rank has three times the gradient of this one."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(4))
    norms = []
    for side in (optimized_network(), optimized_network(world=DistributedContext(0, 2))):
        side.begin(0.1)
        side.add(loss(side))
        norms.append(side.norm())
    torch.testing.assert_close(norms[1], 2 * norms[0])


def test_losses_that_are_scaled_give_the_norm_and_the_step_of_those_that_are_not():
    plain, scaled = optimized_network(), optimized_network("fp16")
    norms = []
    for side in (plain, scaled):
        side.begin(0.1)
        side.add(loss(side))
        norms.append(side.norm())
        side.step()
    torch.testing.assert_close(norms[1], norms[0])
    for a, b in zip(weights(plain), weights(scaled), strict=True):
        torch.testing.assert_close(a, b)


def test_a_step_that_is_left_out_changes_nothing_but_the_scale():
    side = optimized_network("fp16")
    before, scale = weights(side), side.scaler.get_scale()
    side.begin(0.1)
    side.add(loss(side) * torch.inf)
    assert not torch.isfinite(side.norm())
    side.skip()
    assert side.scaler.get_scale() == scale / 2
    assert all(torch.equal(a, b) for a, b in zip(before, weights(side), strict=True))
    assert all(p.grad is None for p in side.module.parameters())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_learner_goes_on_from_its_state(precision):
    """Moments, the count of steps and the scale come back, laid out as the parameters are."""
    first, second = optimized_network(precision), optimized_network(precision)
    first.begin(0.1)
    first.add(loss(first) * torch.inf)
    first.norm()
    first.skip()
    for _ in range(2):
        first.begin(0.1)
        first.add(loss(first))
        first.norm()
        first.step()
    second.module.load_state_dict(first.module.state_dict())
    # As a file gives them back.
    plain = torch.contiguous_format
    second.load_state({k: v.clone(memory_format=plain) for k, v in first.state().items()})
    assert second.scaler.get_scale() == first.scaler.get_scale()
    moments = second.optimizer.state[second.module.weight]["exp_avg"]
    assert moments.stride() == second.module.weight.stride()
    for side in (first, second):
        side.begin(0.1)
        side.add(loss(side))
        side.norm()
        side.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_a_run_may_go_on_in_other_numbers():
    half, full = optimized_network("fp16"), optimized_network()
    half.begin(0.1)
    half.add(loss(half))
    half.norm()
    half.step()
    full.load_state(half.state())
    half.load_state(full.state())
    assert full.optimizer.state[full.module.weight]["step"] == 1


def test_gradients_for_a_fused_optimiser_have_the_strides_of_their_parameters():
    """The kernel for GPUs refuses others, which those of 1-wide convolutions have."""
    layers = [torch.nn.Conv3d(4, 4, 1), torch.nn.Conv3d(4, 6, 3), torch.nn.Conv3d(6, 1, 1)]
    module = torch.nn.Sequential(*layers).to(memory_format=torch.channels_last_3d)
    image = torch.randn(2, 4, 4, 4, 4).to(memory_format=torch.channels_last_3d)
    found = []
    for fused in (False, True):
        optimizer = torch.optim.AdamW(module.parameters(), fused=fused)
        side = OptimizedNetwork(module, optimizer, None, Precision("fp32", CPU), ALONE)
        side.begin(1e-3)
        side.add(module(image).square().mean())
        side.norm()
        found.append([p.grad for p in module.parameters()])
    strides = [p.stride() for p in module.parameters()]
    assert [g.stride() for g in found[0]] != strides
    assert [g.stride() for g in found[1]] == strides
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
