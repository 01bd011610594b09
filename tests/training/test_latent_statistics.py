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


def test_the_number_of_patches_is_told():
    assert measure_latent(small_model().eval(), batches()).samples == 6


def test_a_large_offset_does_not_drown_the_spread():
    """Float32 sums would lose it."""
    model = small_model().eval()
    torch.nn.init.constant_(model.quant_conv.bias, 300.0)
    measured = measure_latent(model, batches())
    with torch.no_grad():
        means = torch.cat([model.encode(b).mode() for b in batches()]).double()
    channels = means.movedim(1, 0).flatten(1)
    assert measured.std == pytest.approx(channels.std(1, correction=0).tolist(), rel=1e-6)


def test_noise_of_samples_is_added_and_never_drawn():
    model = small_model(stage_2_inputs="sample").eval()
    state = torch.random.get_rng_state()
    measured = measure_latent(model, batches())
    assert torch.equal(torch.random.get_rng_state(), state)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        posteriors = [model.encode(b) for b in batches()]
        draws = [p.sample(generator) for p in posteriors for _ in range(1000)]
    values = torch.cat(draws).double().movedim(1, 0).flatten(1)
    assert measured.mean == pytest.approx(values.mean(1).tolist(), abs=0.02)
    assert measured.std == pytest.approx(values.std(1).tolist(), rel=0.02)
    assert measured.scaling_factor == pytest.approx(1 / values.std().item(), rel=0.02)
