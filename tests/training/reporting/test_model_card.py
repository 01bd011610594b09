import re

import pytest

from ct_vae.config.loss import ObjectiveConfig
from ct_vae.config.model import ModelConfig
from ct_vae.config.model_folder import LatentConfig, ModelFolderConfig
from ct_vae.config.preprocess import PreprocessConfig
from ct_vae.training.reporting.model_card import TrainingSummary, model_card
from tests._small import SMALL_CODES, SMALL_MODEL


def folder_config(model=SMALL_MODEL, **changes) -> ModelFolderConfig:
    facts = {
        "name": "tiny",
        "model": model,
        "preprocess": PreprocessConfig(),
        "latent": LatentConfig(scaling_factor=2.0, mean=(0.5,) * 4, std=(0.25,) * 4, samples=32),
        "samples_seen": 20_000,
    }
    return ModelFolderConfig(**{**facts, **changes})


def summary(**changes) -> TrainingSummary:
    facts = {
        "parameters": 12_345,
        "train_cases": 6,
        "val_cases": 2,
        "patch": (16, 16, 16),
        "objective": ObjectiveConfig(),
    }
    return TrainingSummary(**{**facts, **changes})


def section(card, name) -> str:
    return card.split(f"## {name}\n")[1].split("\n## ")[0]


def test_every_section_stands_and_says_what_it_must():
    card = model_card(folder_config(), summary())
    names = re.findall(r"^## (.*)$", card, re.M)
    assert names == [
        "Intended use",
        "Limits",
        "Architecture",
        "Training data",
        "Objective",
        "Validation",
        "Latent",
        "Licence",
    ]
    assert "**not for diagnosis**" in section(card, "Limits")
    assert "HU -1000 to 1000" in section(card, "Limits")
    assert "16 : 1 in numbers, 1 bits per voxel" in section(card, "Architecture")
    assert "12,345 parameters" in section(card, "Architecture")
    assert "6 training cases, 2 validation cases" in section(card, "Training data")
    assert "20,000 patches of 16 x 16 x 16 voxels" in section(card, "Training data")
    assert "scaling factor 2, measured over 32 training patches" in section(card, "Latent")


def test_the_licence_is_the_one_that_was_stated():
    assert "Not stated" in section(model_card(folder_config(), summary()), "Licence")
    card = model_card(folder_config(), summary(), "CC-BY-4.0")
    assert section(card, "Licence").strip() == "CC-BY-4.0"


def test_spacings_are_ranges_along_each_axis():
    spacings = [(0.7, 0.7, 1.5), (0.9, 0.9, 1.5)]
    data = section(model_card(folder_config(), summary(spacings_mm=spacings)), "Training data")
    assert "(0.7 to 0.9) x (0.7 to 0.9) x 1.5 mm" in data
    assert "each case's own spacing" in data
    resampled = folder_config(preprocess=PreprocessConfig(spacing_mm=(1.0, 1.0, 2.0)))
    data = section(model_card(resampled, summary()), "Training data")
    assert "not known" in data
    assert "trained at 1 x 1 x 2 mm" in data


def test_last_and_best_metrics_stand_side_by_side():
    last = {"val_rmse_hu_full": 30.123, "val_codes_counted": 123456.0}
    card = model_card(
        folder_config(),
        summary(last=last, best={"val_rmse_hu_full": 29.0, "val_ssim_full": 0.9}, best_samples=900),
    )
    rows = section(card, "Validation").splitlines()
    assert "| metric | last (20,000 samples) | best (900 samples) |" in rows
    assert "| rmse_hu_full | 30.12 | 29 |" in rows
    assert "| codes_counted | 123,456 | - |" in rows
    assert "| ssim_full | - | 0.9 |" in rows
    assert "4024 HU" in section(card, "Validation")
    assert "None was made" in section(model_card(folder_config(), summary()), "Validation")


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        (SMALL_MODEL, ["reconstruction: l1", "kl (mean): weight 0.0001"]),
        (SMALL_CODES["vq"], ["reconstruction: l1", "commitment: weight 0.25"]),
        (SMALL_CODES["magvit"], ["reconstruction: l1"]),
        (
            ModelConfig(ch_mult=(1, 2), latent_type="magvit", quantizer="lfq", embed_dim=10),
            ["reconstruction: l1", "commitment: weight 0.25", "entropy: weight 0.1"],
        ),
    ],
    ids=["kl", "ema", "fsq", "lfq"],
)
def test_terms_that_meant_something_are_told(model, terms):
    told = section(model_card(folder_config(model), summary()), "Objective")
    assert told.strip().splitlines() == [f"- {term}" for term in terms]


def test_a_weight_of_faces_is_told():
    card = model_card(folder_config(), summary(objective=ObjectiveConfig(face_weight=1.25)))
    assert "- reconstruction: l1, 1.25 times at faces" in section(card, "Objective")


def test_the_adversary_and_windows_are_told_and_no_path():
    objective = ObjectiveConfig(
        recon_type="mse",
        adversarial_weight=0.1,
        r1_weight=2.0,
        perceptual_weight=0.5,
        perceptual_weights_path="/home/doe/vgg.pt",
        window_weights={"lung": 0.5},
    )
    card = model_card(folder_config(), summary(objective=objective))
    told = section(card, "Objective").strip().splitlines()
    for line in ("reconstruction: mse", "adversarial (hinge): weight 0.1", "r1: weight 2"):
        assert f"- {line}" in told
    assert "- perceptual: weight 0.5" in told
    assert "- window lung: weight 0.5" in told
    assert "vgg" not in card
    assert "home" not in card
    alone = ObjectiveConfig(r1_weight=2.0)
    assert "r1" not in section(model_card(folder_config(), summary(objective=alone)), "Objective")


def test_what_was_not_measured_is_said():
    unmeasured = folder_config(latent=LatentConfig(scaling_factor=1.0), samples_seen=None)
    card = model_card(unmeasured, summary())
    assert section(card, "Latent").count("not measured") == 2
    assert "not counted patches" in section(card, "Training data")
