import torch
from torch import nn

from ct_vae.blocks.conv import ConvND
from ct_vae.inference.streaming.feature_buffer import FeatureBufferPool
from ct_vae.inference.streaming.graph import trace_operators
from ct_vae.inference.streaming.schedule import schedule
from tests._asserts import assert_close
from tests.inference._exact import given, halves, run, tiny


class Forked(nn.Module):
    """A result that flows on at once and is needed again behind a barrier."""

    def __init__(self):
        super().__init__()
        self.first, self.second = ConvND(3, 1, 2), ConvND(3, 2, 2)
        self.norm = nn.GroupNorm(1, 2)

    def forward(self, x):
        h = self.first(x)
        return h + self.norm(self.second(h))


def test_what_would_wait_for_a_barrier_is_spooled():
    module = Forked().double().eval()
    steps = trace_operators(module, (1, 8, 4, 4), torch.float64)
    # The first convolution, the second, the sum.
    assert schedule(steps).buffered == (1, 2, 4)
    x = torch.randn(1, 1, 8, 4, 4, dtype=torch.float64)
    with torch.inference_mode():
        assert_close(run(module, x, 200), module(x), 1e-12)


def test_without_barriers_nothing_is_spooled():
    module = halves(tiny("magvit causal"))[1]
    steps = trace_operators(module, (tiny("magvit causal").latent_channels, 4, 4, 4), torch.float64)
    assert schedule(steps).buffered == (len(steps) - 1,)


def test_spools_are_let_go_after_their_last_use(monkeypatch):
    held, peaks, count = {}, [], [0]
    real_take, real_give_back = FeatureBufferPool.take, FeatureBufferPool.give_back

    def take(self, kind, size):
        store = real_take(self, kind, size)
        count[0] += 1
        held[id(store)] = size
        peaks.append(len(held))
        return store

    def give_back(self, kind, store):
        del held[id(store)]
        real_give_back(self, kind, store)

    monkeypatch.setattr(FeatureBufferPool, "take", take)
    monkeypatch.setattr(FeatureBufferPool, "give_back", give_back)
    model = tiny("kl group attention")
    x = given(model, (8, 8, 8), decodes=True)
    run(halves(model)[1], x, 1000)
    assert not held
    order = schedule(trace_operators(halves(model)[1], tuple(x.shape[1:]), x.dtype))
    filled = order.buffered[:-1]
    # When a buffer is taken, those are held that something yet to be filled will read.
    assert peaks == [sum(j <= i <= order.last_use[j] for j in filled) for i in filled]
    assert max(peaks) <= 3
    assert count[0] > 10
