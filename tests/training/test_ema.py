import copy

import pytest
import torch
from torch import nn

from ct_vae.config.model import ModelConfig
from ct_vae.training.ema import AveragedWeights
from tests._small import small_model

# All layers work on blocks of 4 voxels, so that hundreds of steps take a second.
BLOCKS = ModelConfig(
    patch_size=4,
    down_channels=(16,),
    num_res_blocks=1,
    encoder_mid=False,
    decoder_mid=False,
    mid_attn=False,
    norm="rms",
)


def followed(halflife, steps, batch, value=lambda seen: 1.0):
    """The average of one weight that begins at 0 and takes ``value`` after each step."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = AveragedWeights(model, halflife)
    for step in range(1, steps + 1):
        nn.init.constant_(model.weight, value(step * batch))
        average.follow(model, step * batch, batch)
    return average.module.weight.item()


def test_the_first_weights_are_forgotten_early():
    """However long the half-life is."""
    assert followed(10**9, steps=100, batch=1) > 0.999


@pytest.mark.parametrize("batch", [1, 2, 8, 32, 128])
def test_batch_size_changes_nothing_once_warm(batch):
    """A weight that jumps at 40,960 samples is half followed a half-life later."""
    jump = 40_960

    def value(seen):
        return float(seen > jump)

    steps = (jump + 1024) // batch
    assert followed(1024, steps, batch, value) == pytest.approx(0.5, abs=1e-4)


def test_the_average_is_at_most_a_twentieth_of_the_run_old():
    """Of weights that grow with the samples, it lags by no more than the memory allows."""
    seen = 4000
    lag = seen - followed(10**9, steps=seen // 4, batch=4, value=float)
    assert 0 < lag < 0.05 * seen / 0.6


def test_a_half_life_of_0_follows_at_once():
    assert followed(0, steps=3, batch=4, value=float) == 12.0


def test_buffers_are_those_of_the_model():
    model = nn.BatchNorm1d(1)
    average = AveragedWeights(model, 100)
    model.running_mean.fill_(3.0)
    average.follow(model, 10, 1)
    assert average.module.running_mean.item() == 3.0


def smooth_patches(count, seed):
    """Patches ``(count, 1, 8, 8, 8)`` of smooth random images."""
    coarse = torch.randn(count, 1, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size=(8, 8, 8), mode="trilinear") / 2


@torch.no_grad()
def error_of(model):
    images = smooth_patches(64, seed=10**6)
    return (model.decode(model.encode(images).mode()) - images).square().mean().sqrt().item()


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize(
    ("batch", "steps"), [(1, 40), (1, 400), (2, 300), (8, 200), (32, 100), (128, 40)]
)
def test_the_average_is_never_much_worse_than_the_weights(batch, steps, falling):
    """Short runs, whose first weights a constant decay would still hold at their end."""
    model = small_model(base=BLOCKS)
    average = AveragedWeights(model, halflife=2000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    last = 0.01 if falling else 1.0
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, last, total_iters=steps)
    first = error_of(model)
    for step in range(steps):
        images = smooth_patches(batch, seed=step)
        loss = (model.decode(model.encode(images).mode()) - images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        average.follow(model, (step + 1) * batch, batch)
    raw, averaged = error_of(model), error_of(copy.deepcopy(average.module))
    assert raw < first
    assert averaged <= 1.05 * raw
