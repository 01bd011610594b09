import torch

from ct_vae.training.seeding import generator, posterior_noise, seeded_layers


def test_noise_belongs_to_the_sample_and_not_to_the_batch():
    mean = torch.zeros(4, 2, 3, 3, 3)
    together = posterior_noise(mean, 0, 10)
    apart = [posterior_noise(mean[:1], 0, 10 + i) for i in range(4)]
    assert torch.equal(together, torch.cat(apart))


def test_generators_of_neighbouring_places_are_unrelated():
    draws = torch.stack([torch.randn(1000, generator=generator(0, i)) for i in range(50)])
    correlation = torch.corrcoef(draws) - torch.eye(50)
    assert correlation.abs().max() < 0.2
    assert abs(draws.mean().item()) < 0.02


def test_what_layers_draw_follows_from_seed_and_sample_and_leaves_other_draws_alone():
    device = torch.device("cpu")
    before = torch.random.get_rng_state()
    drawn = {}
    for name, seed, index in (("a", 0, 4), ("same", 0, 4), ("seed", 1, 4), ("sample", 0, 5)):
        with seeded_layers(seed, index, device):
            drawn[name] = torch.rand(8).tolist()
    assert drawn["a"] == drawn["same"]
    assert drawn["a"] not in (drawn["seed"], drawn["sample"])
    assert torch.equal(before, torch.random.get_rng_state())
