"""Averaging during the backward pass. Messages are taken as if the other rank sent the same."""

import pytest
import torch
from torch import distributed, nn

from ct_vae.training.device.gradient_buckets import GradientBuckets
from ct_vae.training.distributed import DistributedContext

TWO = DistributedContext(0, 2)


class Work:
    """Message that arrives when it is waited for; the other rank has three times as much."""

    def __init__(self, flat):
        self.flat = flat

    def wait(self):
        self.flat.mul_(4)


@pytest.fixture
def messages(monkeypatch):
    """Gives the sizes of messages, after those that were sent in a backward pass "during"."""
    sent = []

    def all_reduce(flat, async_op=False):
        sent.append(("during" if async_op else "after", flat.numel()))
        return Work(flat) if async_op else flat.mul_(4)

    monkeypatch.setattr(distributed, "all_reduce", all_reduce)
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    return sent


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Conv3d(2, 2, 3, padding=1) for _ in range(3)))
    return model.to(memory_format=torch.channels_last_3d)


def image(seed=0):
    return torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(seed))


def expected(*images):
    model = network()
    for each in images:
        model(each).square().sum().backward()
    return [2 * p.grad for p in model.parameters()]


def test_buckets_are_sent_in_reverse_order_during_the_last_pass_alone(messages):
    model = network()
    # 110 numbers of 4 bytes for each layer, two layers in a bucket.
    buckets = GradientBuckets(list(model.parameters()), TWO, bucket_bytes=880)
    model(image(0)).square().sum().backward()
    assert messages == []
    buckets.arm()
    loss = model(image(1)).square().sum()
    seen_by_first = []
    model[0].weight.register_hook(lambda _: seen_by_first.append(list(messages)))
    loss.backward()
    assert seen_by_first == [[("during", 220)]]
    assert messages == [("during", 220), ("during", 110)]
    buckets.finish()
    assert len(messages) == 2
    found = [p.grad for p in model.parameters()]
    torch.testing.assert_close(found, expected(image(0), image(1)), rtol=0, atol=0)


def test_what_the_last_pass_gives_no_gradient_is_averaged_after_it(messages):
    """The last layer has a gradient of the first pass only, and holds back those before it."""
    model = network()
    buckets = GradientBuckets(list(model.parameters()), TWO, bucket_bytes=440)
    model(image(0)).square().sum().backward()
    buckets.arm()
    model[:2](image(1)).square().sum().backward()
    assert messages == []
    buckets.finish()
    assert messages == [("after", 330)]
    twin = network()
    twin(image(0)).square().sum().backward()
    twin[:2](image(1)).square().sum().backward()
    found = [p.grad for p in model.parameters()]
    torch.testing.assert_close(found, [2 * p.grad for p in twin.parameters()], rtol=0, atol=0)


def test_a_network_that_is_judged_frozen_sends_nothing_and_keeps_its_turn(messages):
    model = network()
    buckets = GradientBuckets(list(model.parameters()), TWO)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = image().requires_grad_()
    model(x).sum().backward()
    assert messages == []
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    buckets.arm()
    model(image()).square().sum().backward()
    assert messages == [("during", 330)]
    buckets.finish()
    torch.testing.assert_close([p.grad for p in model.parameters()], expected(image()))


def test_parameters_that_never_learn_are_not_waited_for(messages):
    model = network()
    model[1].requires_grad_(False)
    buckets = GradientBuckets(list(model.parameters()), TWO)
    buckets.arm()
    model(image()).square().sum().backward()
    assert messages == [("during", 220)]
    buckets.finish()
    assert model[1].weight.grad is None


def test_buckets_hold_one_type_each(messages):
    parameters = [nn.Parameter(torch.ones(2, dtype=t)) for t in (torch.float64, torch.float32)]
    buckets = GradientBuckets(parameters, TWO)
    buckets.arm()
    (parameters[0].sum() + parameters[1].sum()).backward()
    buckets.finish()
    assert messages == [("during", 2), ("during", 2)]
    assert [p.grad.tolist() for p in parameters] == [[2, 2], [2, 2]]


def test_one_rank_sends_nothing(messages):
    model = network()
    buckets = GradientBuckets(list(model.parameters()), DistributedContext())
    buckets.arm()
    model(image()).square().sum().backward()
    buckets.finish()
    assert messages == []
