import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ct_vae.config.load import parse_config
from ct_vae.errors import ConfigError
from ct_vae.losses.build import build_adversary, build_objective
from tests.losses._pairs import pair
from tests.losses._vgg import random_vgg16, torchvision_state

CPU = torch.device("cpu")


def config(model=(), preprocess=(), **training):
    tree = {
        "model": {"down_channels": [8, 8], "mid_attn": False, **dict(model)},
        "preprocess": dict(preprocess),
        "training": training,
    }
    return parse_config(tree, "test.json")


def build(activation=None, **sections):
    return build_objective(config(**sections), activation or nn.Identity(), CPU)


def test_by_default_it_is_the_absolute_error_and_the_divergence():
    a, b = pair()
    kl = torch.ones(2, 3, 4)
    terms = build()(a, b, {"kl": kl}, 0)
    assert terms.weights == {"reconstruction": 1.0, "kl": 1e-4}
    torch.testing.assert_close(terms.total, (a - b).abs().mean() + 1e-4)


def test_reduction_and_annealing_are_those_of_the_configuration():
    a, b = pair()
    objective = build(kl_reduction="sum", kl_anneal_samples=10, kl_weight=0.5)
    terms = objective(a, b, {"kl": torch.ones(2, 3, 4)}, 5)
    assert terms.values["kl"].item() == 12
    assert terms.weights["kl"] == 0.25


def test_windows_are_given_in_hu_and_compared_in_model_units():
    objective = build(
        preprocess={"window_hu": [-1000, 3000], "model_range": [-1, 1]},
        window_weights={"lung": 0.5, "kidney:300/80": 2, "bone": 0},
    )
    # Lung is [-1350, 150] HU; 1 HU is 1/2000, and -1000 HU are -1.
    air, water = torch.full((1, 1, 4), -1.0), torch.full((1, 1, 4), -0.5)
    terms = objective(air, water, {}, 0)
    assert terms.values["window_lung"].item() == pytest.approx(1000 / 1500)
    # The kidney's begins at -70 HU.
    assert terms.values["window_kidney"].item() == pytest.approx(70 / 300, rel=1e-4)
    assert terms.weights == {"reconstruction": 1.0, "window_lung": 0.5, "window_kidney": 2.0}


def test_what_has_weight_zero_is_not_built():
    settings = {
        "gradient_weight": 0,
        "perceptual_weights_path": "absent.pth",
        "feature_matching_weight": 3,
        "r1_weight": 1,
    }
    a, b = pair()
    plain, told = build(), build(**settings)
    assert told.adversary is None
    assert torch.equal(plain(a, b, {}, 10**6).total, told(a, b, {}, 10**6).total)


def test_the_gradient_term_is_built():
    a, b = pair()
    assert build(gradient_weight=0.5)(a, b, {}, 0).weights["gradient"] == 0.5


def test_logits_meet_the_sigmoid():
    a, b = pair()
    objective = build(nn.Sigmoid(), preprocess={"model_range": [0, 1]}, recon_type="bce_focal")
    entropy = nn.functional.binary_cross_entropy_with_logits(a, b, reduction="none")
    expected = ((b - torch.sigmoid(a)).square() * entropy).mean()
    torch.testing.assert_close(objective(a, b, {}, 0).total, expected)


def test_the_perceptual_network_is_loaded_before_training(tmp_path):
    path = tmp_path / "vgg.safetensors"
    save_file(torchvision_state(random_vgg16()), path)
    objective = build(perceptual_weight=0.3, perceptual_weights_path=str(path))
    a, b = pair(16, 16, 16, batch=1)
    terms = objective(a, b, {}, 0)
    assert terms.weights["perceptual"] == 0.3
    assert terms.values["perceptual"] > 0
    # The default range is [-1, 1]: shifting it to [0, 1] changes what is seen.
    shifted = build(
        preprocess={"model_range": [0, 1]},
        perceptual_weight=0.3,
        perceptual_weights_path=str(path),
    )
    half = shifted((a + 1) / 2, (b + 1) / 2, {}, 0).values["perceptual"]
    torch.testing.assert_close(half, terms.values["perceptual"])


def test_a_missing_perceptual_network_is_reported_before_training():
    with pytest.raises(ConfigError, match=r"perceptual_weights_path: absent.pth: no such file"):
        build(perceptual_weight=0.3, perceptual_weights_path="absent.pth")


def adversarial(**changes):
    settings = {"adversarial_weight": 0.1, "discriminator_ch": 4, "discriminator_levels": 2}
    return settings | changes


def test_the_adversary_is_that_of_the_configuration():
    judge = build_adversary(
        config(
            model={"strides": [[2, 2, 1]], "in_channels": 2, "out_channels": 2},
            **adversarial(
                adversarial_start_samples=100,
                adversarial_ramp_samples=50,
                adversarial_loss="least_squares",
                adversarial_adaptive_limit=3.0,
                feature_matching_weight=1,
                r1_weight=10,
                r1_every=2,
                lecam_weight=0.01,
                discriminator_norm="instance",
            ),
        ),
        CPU,
    )
    assert (judge.active(99), judge.active(100), judge.weight(125)) == (False, True, 0.5)
    assert judge.adaptive_limit == 3.0
    a, b = pair(8, 8, 4, channels=2)
    told = judge.generator_terms(a, b)
    logits = judge.discriminator(a).logits
    torch.testing.assert_close(told["adversarial"], (logits - 1).square().mean())
    # Slices are halved once less than the other axes.
    assert logits.shape == (2, 1, 2, 2, 2)
    assert "feature_matching" in told
    assert judge.discriminator.levels[0][2].num_groups == 8
    terms = judge.discriminator_terms(a, b, 100)
    assert terms.weights == {"d_real": 0.5, "d_fake": 0.5, "r1": 10.0, "lecam": 0.01}


def test_a_weight_that_does_not_adapt_is_as_given():
    assert (
        build_adversary(config(**adversarial(adversarial_adaptive=False)), CPU).adaptive_limit
        is None
    )


def test_the_first_discriminator_is_a_function_of_the_seed_alone():
    def weights(seed, others):
        torch.manual_seed(others)
        state = torch.random.get_rng_state()
        judge = build_adversary(config(**adversarial(seed=seed)), CPU)
        assert torch.equal(torch.random.get_rng_state(), state)
        return judge.discriminator.head.weight

    assert torch.equal(weights(0, 1), weights(0, 2))
    assert not torch.equal(weights(0, 1), weights(1, 1))
