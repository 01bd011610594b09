import json
import re

import pytest
from pydantic import ValidationError

from ct_vae.config.load import parse_config
from ct_vae.config.loss import ObjectiveConfig
from ct_vae.config.run import RunConfig
from ct_vae.config.training import TrainingConfig
from ct_vae.config.windows import WINDOWS, Window
from ct_vae.errors import ConfigError


def parse(**keys):
    return ObjectiveConfig.model_validate_json(json.dumps(keys))


def run(model=(), preprocess=(), **training):
    tree = {"model": dict(model), "preprocess": dict(preprocess), "training": training}
    return parse_config(tree, "config.json")


SHARES = {"model_range": [0, 1]}


def test_loss_keys_are_in_the_section_training():
    assert ObjectiveConfig.model_fields.keys() < TrainingConfig.model_fields.keys()
    assert run(kl_weight=0.5).training.kl_weight == 0.5


def test_by_default_nothing_needs_a_file_or_a_discriminator():
    config = parse()
    assert config.perceptual_weight == config.adversarial_weight == config.gradient_weight == 0
    assert config.windows == {}


def test_windows_are_named_or_described_and_count_only_with_a_weight():
    config = parse(window_weights={"Soft Tissue": 0.5, "kidney:300/80": 2, "bone": 0})
    assert config.windows == {WINDOWS["soft_tissue"]: 0.5, Window("kidney", 300, 80): 2}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"recon_type": "ssim"}, "'l1', 'mse', 'charbonnier', 'bce' or 'bce_focal'"),
        ({"focal_gamma": 0.5}, "focal_gamma is 0 or at least 1, got 0.5"),
        ({"focal_gamma": -1}, "greater than or equal to 0"),
        ({"window_weights": {"lungs": 1}}, "'lungs' is not a window; give one of full, lung"),
        ({"window_weights": {"lung": -1}}, "greater than or equal to 0"),
        ({"window_weights": {"lung": 1, "Lung": 2}}, "window 'lung' occurs twice"),
        ({"window_weights": {"lung": "much"}}, "valid number"),
        ({"kl_reduction": "max"}, "'mean' or 'sum'"),
        ({"kl_anneal_samples": -1}, "greater than or equal to 0"),
        ({"perceptual_weight": 0.3}, "needs perceptual_weights_path, a local file: nothing is"),
        ({"perceptual_share": 0}, "greater than 0"),
        ({"perceptual_share": 1.5}, "less than or equal to 1"),
        ({"adversarial_loss": "wgan"}, "'hinge', 'least_squares' or 'non_saturating'"),
        ({"adversarial_adaptive_limit": 0}, "greater than 0"),
        ({"r1_every": 0}, "greater than 0"),
        ({"discriminator_norm": "batch"}, "'group' or 'instance'"),
        ({"entropy_weight": -0.1}, "greater than or equal to 0"),
    ],
)
def test_each_mistake_is_named(keys, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        parse(**keys)


def test_keys_of_terms_that_are_off_do_no_harm():
    run(
        feature_matching_weight=1,
        r1_weight=10,
        adversarial_start_samples=10**9,
        perceptual_weights_path="absent.pth",
        discriminator_levels=9,
    )


@pytest.mark.parametrize("kind", ["bce", "bce_focal"])
@pytest.mark.parametrize("given", [None, "sigmoid"])
def test_losses_on_logits_give_the_model_a_sigmoid(kind, given):
    model = {} if given is None else {"output_activation": given}
    config = run(model, SHARES, recon_type=kind)
    assert config.model.output_activation == "sigmoid"
    written = json.loads(json.dumps(config.as_json()))
    assert written["model"]["output_activation"] == "sigmoid"
    assert parse_config(written, "again") == config


@pytest.mark.parametrize("given", [None, "identity", "sigmoid"])
def test_other_losses_leave_the_model_as_it_is(given):
    config = run({"output_activation": given}, SHARES, recon_type="l1")
    assert config.model.output_activation == given
    assert RunConfig().model.output_activation is None


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"recon_type": "bce"},
            "training.recon_type 'bce' needs a preprocess.model_range of [0, 1], got [-1, 1]",
        ),
        (
            {"model": {"output_activation": "sigmoid"}},
            "model.output_activation sigmoid needs a preprocess.model_range of [0, 1]",
        ),
        (
            {"model": {"tanh_out": True}, "preprocess": SHARES, "recon_type": "bce_focal"},
            "model.tanh_out contradicts training.recon_type 'bce_focal'",
        ),
        (
            {"model": {"output_activation": "identity"}, "preprocess": SHARES, "recon_type": "bce"},
            "model.output_activation 'identity' contradicts training.recon_type 'bce'",
        ),
        (
            {"model": {"tanh_out": True, "output_activation": "sigmoid"}, "preprocess": SHARES},
            "tanh_out contradicts output_activation 'sigmoid'",
        ),
        (
            {"preprocess": {"window_hu": [-200, 300]}, "window_weights": {"air:100/-900": 1}},
            "'air' is [-950, -850] HU, all of it clipped by preprocess.window_hu [-200, 300]",
        ),
        (
            {"window_weights": {"metal:100/2000": 1}},
            "window 'metal' is [1950, 2050] HU, all of it clipped",
        ),
        (
            {"adversarial_weight": 0.1, "samples": 1000},
            "adversarial_start_samples 15000 comes after the 1000 samples of the run",
        ),
        (
            {
                "perceptual_weight": 1,
                "perceptual_weights_path": "x",
                "patch_size": [64, 8, 64],
            },
            "slices of at least 16 x 16 voxels, a patch of [64, 8, 64] has smaller ones",
        ),
        (
            {
                "model": {"spatial_dims": 1},
                "perceptual_weight": 1,
                "perceptual_weights_path": "x",
            },
            "slices of at least 16 x 16 voxels, a patch of [64] has smaller ones",
        ),
        (
            {"adversarial_weight": 1, "discriminator_levels": 4, "patch_size": [8, 16, 16]},
            "discriminator_levels 4 need patches of at least [16, 16, 16] voxels and more along "
            "one axis, got [8, 16, 16]",
        ),
    ],
)
def test_sections_that_contradict_each_other_are_refused(sections, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        run(**sections)


def test_windows_that_are_clipped_in_part_are_taken():
    config = run(window_weights={"bone": 1, "lung": 1})
    assert {window.name for window in config.training.windows} == {"bone", "lung"}


def test_the_discriminator_halves_as_the_model_does_and_then_everywhere():
    model = {"ch_mult": [1, 1, 1], "strides": [[2, 2, 1], 2]}
    assert run(model).discriminator_strides == ((2, 2, 1), (2, 2, 2), (2, 2, 2))
    assert run(model, discriminator_levels=1).discriminator_strides == ((2, 2, 1),)
    thin = {"adversarial_weight": 1, "patch_size": [16, 16, 4]}
    assert run(model, **thin).patch_size == (16, 16, 4)
    with pytest.raises(ConfigError, match=r"at least \[16, 16, 8\] voxels"):
        run(model, **thin, discriminator_levels=4)


@pytest.mark.parametrize("key", ["equivariance_weight", "latent_noise", "nested_channels"])
def test_changes_of_latents_are_refused_for_models_with_codes(key):
    value = [4] if key == "nested_channels" else 0.1
    with pytest.raises(ConfigError, match=f"training.{key} needs model.latent_type 'kl'"):
        run({"latent_type": "vq"}, **{key: value})


@pytest.mark.parametrize("nested", [[1, 2], [2, 1, 4], [1, 1, 4], [1, 8]])
def test_nested_channels_increase_and_end_with_all(nested):
    with pytest.raises(ConfigError, match="must increase, and end with the 4 channels"):
        run(nested_channels=nested)
    assert run(nested_channels=[1, 2, 4]).training.nested_channels == (1, 2, 4)


def test_equivariance_needs_two_latent_voxels():
    with pytest.raises(ConfigError, match="at least 2 latent voxels along each axis"):
        run(equivariance_weight=0.5, patch_size=[16, 16, 8])
