import hashlib

import pytest
import torch
from torch import nn

from ct_vae.errors import ConfigError
from ct_vae.losses.adversarial import AdversarialWarmup, Adversary
from ct_vae.losses.discriminator_regularizers import Penalties, r1_penalty
from ct_vae.losses.gan_losses import gan_loss
from tests.losses._pairs import pair, small_discriminator

GAMES = ("hinge", "least_squares", "non_saturating")


def adversary(**parts):
    return Adversary(small_discriminator(), **parts)


def digest(module: nn.Module) -> str:
    """Of parameters, buffers and gradients."""
    found = hashlib.sha256()
    for name, value in module.state_dict(keep_vars=True).items():
        slope = None if value.grad is None else value.grad.tolist()
        found.update(f"{name} {value.tolist()} {slope}".encode())
    return found.hexdigest()


class Generator(nn.Module):
    """The smallest network with a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x)


def images():
    return pair(8, 8, 8)


@pytest.mark.parametrize("name", GAMES)
def test_both_sides_play_the_game(name):
    fake, real = images()
    judge, rules = adversary(loss=name), gan_loss(name)
    logits = {k: judge.discriminator(x).logits for k, x in (("real", real), ("fake", fake))}
    told = judge.generator_terms(fake, real)
    assert set(told) == {"adversarial"}
    torch.testing.assert_close(told["adversarial"], rules.generator(logits["fake"]))
    terms = judge.discriminator_terms(fake, real, 0)
    torch.testing.assert_close(terms.values["d_real"], rules.real(logits["real"]))
    torch.testing.assert_close(terms.values["d_fake"], rules.fake(logits["fake"]))
    expected = (rules.real(logits["real"]) + rules.fake(logits["fake"])) / 2
    torch.testing.assert_close(terms.total, expected)


def test_features_are_matched_level_by_level():
    fake, real = images()
    judge = adversary(match_features=True)
    pairs = zip(judge.discriminator(fake).features, judge.discriminator(real).features, strict=True)
    expected = sum((a - b).abs().mean() for a, b in pairs) / 3
    told = judge.generator_terms(fake, real)
    assert set(told) == {"adversarial", "feature_matching"}
    torch.testing.assert_close(told["feature_matching"], expected)
    assert judge.generator_terms(real, real)["feature_matching"].item() == 0


@pytest.mark.parametrize("train", [True, False])
def test_the_generators_turn_leaves_the_discriminator_untouched(train):
    x, real = images()
    judge = adversary(match_features=True, penalties=Penalties(lecam=1)).train(train)
    judge.discriminator.head.bias.requires_grad_(False)
    generator, before = Generator(), digest(judge)
    told = judge.generator_terms(generator(x), real)
    (told["adversarial"] + told["feature_matching"]).backward()
    assert digest(judge) == before
    assert generator.last.weight.grad.abs().max() > 0
    learning = {n for n, p in judge.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in judge.named_parameters()} - {"discriminator.head.bias"}
    assert all(module.training is train for module in judge.modules())


def test_the_discriminators_turn_leaves_the_generator_untouched():
    x, real = images()
    judge, generator = adversary(penalties=Penalties(r1=1, lecam=1)), Generator()
    generator(x).mean().backward()
    before = digest(generator)
    judge.discriminator_terms(generator(x), real, 0).total.backward()
    assert digest(generator) == before
    assert all(p.grad is not None for p in judge.parameters())


def test_an_error_in_the_generators_turn_does_not_leave_the_discriminator_frozen():
    judge = adversary()
    with pytest.raises(Exception, match="channels"):
        judge.generator_terms(torch.zeros(1, 3, 8, 8, 8), torch.zeros(1, 3, 8, 8, 8))
    assert all(p.requires_grad for p in judge.parameters())


@pytest.mark.parametrize(
    ("seen", "active", "weight"),
    [(0, False, 0.0), (9, False, 0.0), (10, True, 0.0), (15, True, 0.25), (40, True, 1.0)],
)
def test_it_comes_in_slowly(seen, active, weight):
    judge = adversary(warmup=AdversarialWarmup(10, 20))
    assert judge.active(seen) is active
    assert judge.weight(seen) == weight


def test_without_a_ramp_it_comes_in_at_once():
    judge = adversary(warmup=AdversarialWarmup(10))
    assert [judge.weight(seen) for seen in (9, 10)] == [0.0, 1.0]


def test_the_slope_is_looked_at_every_so_many_steps():
    fake, real = images()
    judge = adversary(penalties=Penalties(r1=10, r1_every=3))
    looks = [judge.discriminator_terms(fake, real, 4 * step) for step in range(7)]
    assert ["r1" in terms.values for terms in looks] == [i % 3 == 0 for i in range(7)]
    first, second = looks[:2]
    torch.testing.assert_close(first.values["r1"], r1_penalty(judge.discriminator, real))
    assert first.weights["r1"] == 15.0
    torch.testing.assert_close(first.total, second.total + 15 * first.values["r1"])


def test_all_parts_of_a_step_look_at_the_slope():
    fake, real = images()
    judge = adversary(penalties=Penalties(r1=10, r1_every=2))
    parts = [judge.discriminator_terms(fake, real, place) for place in (0, 0, 4, 4, 8)]
    assert ["r1" in terms.values for terms in parts] == [True, True, False, False, True]


def test_averages_of_the_steps_before_hold_verdicts_back():
    fake, real = images()
    judge = adversary(penalties=Penalties(lecam=0.5))
    first = judge.discriminator_terms(fake, real, 0)
    assert first.values["lecam"].item() == 0
    second = judge.discriminator_terms(fake, real, 4)
    a, b = (judge.discriminator(x).logits for x in (real, fake))
    gap = (a - b.mean()).relu().square().mean() + (a.mean() - b).relu().square().mean()
    torch.testing.assert_close(second.values["lecam"], gap)
    torch.testing.assert_close(second.total, first.total + 0.5 * gap)


def test_ranks_share_the_averages():
    fake, real = images()
    judge = adversary(penalties=Penalties(lecam=0.5))
    judge.discriminator_terms(fake, real, 0, reduce=torch.zeros_like)
    judge.averages.begin(4)
    assert judge.averages.means.tolist() == [0, 0]
    assert judge.averages.steps.item() == 1


def test_the_state_holds_all_that_goes_on():
    fake, real = images()
    penalties = Penalties(r1=1, r1_every=3, lecam=1)
    whole, again = (
        adversary(penalties=penalties),
        Adversary(small_discriminator(seed=1), penalties=penalties),
    )
    for step in range(4):
        whole.discriminator_terms(fake, real, step)
    again.load_state_dict(whole.state_dict())
    for step in range(4, 8):
        a, b = (judge.discriminator_terms(fake, real, step) for judge in (whole, again))
        assert a.values.keys() == b.values.keys()
        assert torch.equal(a.total, b.total)


def balanced(limit, reduce=lambda gradient: gradient):
    x, real = images()
    generator, judge = Generator(), adversary(adaptive_limit=limit)
    with torch.no_grad():
        generator.last.weight.copy_(torch.linspace(-1, 1, 27).view(1, 1, 3, 3, 3))
    fake = generator(x)
    close, told = (fake - real).abs().mean(), judge.generator_terms(fake, real)["adversarial"]
    weight = judge.adaptive_weight(close, told, generator.last.weight, reduce)
    norms = [
        torch.autograd.grad(term, generator.last.weight, retain_graph=True)[0].norm().item()
        for term in (close, told)
    ]
    return weight, norms


def test_the_adaptive_weight_is_the_ratio_of_gradients():
    weight, (close, told) = balanced(1e9)
    assert weight == pytest.approx(close / (told + 1e-4), rel=1e-5)


def test_the_adaptive_weight_has_a_limit():
    weight, (close, told) = balanced(0.01)
    assert close / told > 0.01
    assert weight == pytest.approx(0.01)


def test_gradients_are_averaged_over_ranks_before_their_norm():
    other = torch.linspace(-1, 2, 27).view(1, 1, 3, 3, 3)
    seen = []

    def reduce(gradient):
        seen.append((gradient + other) / 2)
        return seen[-1]

    weight, _ = balanced(1e9, reduce)
    close, told = (gradient.norm().item() for gradient in seen[0])
    assert weight == pytest.approx(close / (told + 1e-4), rel=1e-5)


def test_a_generator_that_without_effect_leaves_the_weight_finite():
    judge = adversary(adaptive_limit=10.0)
    last = torch.ones(2, requires_grad=True)
    assert judge.adaptive_weight(last.sum(), 0 * last.sum(), last, lambda g: g) == 10.0


def test_without_a_limit_weights_are_as_given():
    last = torch.ones(2, requires_grad=True)
    assert adversary().adaptive_weight(last.sum(), 3 * last.sum(), None, lambda g: g) == 1.0


def test_the_adaptive_weight_needs_the_last_layer():
    last = torch.ones(2, requires_grad=True)
    with pytest.raises(ConfigError, match="requires the last layer"):
        adversary(adaptive_limit=1.0).adaptive_weight(last.sum(), last.sum(), None, lambda g: g)


@pytest.mark.parametrize("name", GAMES)
def test_the_generators_gradient_is_that_of_finite_differences(name):
    fake, real = pair(8, 4, batch=1)
    judge = Adversary(small_discriminator(spatial_dims=2), name, match_features=True).double()

    def heard(x):
        told = judge.generator_terms(x, real.double())
        return told["adversarial"] + told["feature_matching"]

    assert torch.autograd.gradcheck(heard, fake.double().requires_grad_())


def test_under_autocast_terms_are_finite_float32():
    fake, real = images()
    judge = adversary(match_features=True, penalties=Penalties(r1=1, lecam=1))
    judge.discriminator_terms(fake, real, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        told = judge.generator_terms(fake, real)
        terms = judge.discriminator_terms(fake, real, 16)
        assert judge.discriminator(fake).logits.dtype == torch.bfloat16
    for value in (*told.values(), *terms.values.values(), terms.total):
        assert value.dtype == torch.float32
        assert value.isfinite()


def test_an_unknown_game_is_refused():
    with pytest.raises(ConfigError, match="not one of hinge"):
        adversary(loss="chess")
