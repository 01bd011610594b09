import pytest
import torch

from ct_vae.training.latent_statistics import measure_latent
from tests._small import small_model


def batches():
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 1, 8, 8, 8, generator=generator) for _ in range(3)]


def test_statistics_are_those_of_all_means_together():
    model = small_model().eval()
    measured = measure_latent(model, batches())
    with torch.no_grad():
        means = torch.cat([model.encode(b).mode() for b in batches()]).double()
    channels = means.movedim(1, 0).flatten(1)
    assert measured.mean == pytest.approx(channels.mean(1).tolist())
    assert measured.std == pytest.approx(channels.std(1, correction=0).tolist())
    assert measured.scaling_factor == pytest.approx(1 / means.std(correction=0).item())


def test_a_latent_without_spread_is_left_unscaled():
    model = small_model().eval()
    torch.nn.init.zeros_(model.quant_conv.weight)
    torch.nn.init.zeros_(model.quant_conv.bias)
    assert measure_latent(model, batches()).scaling_factor == 1.0
